// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// What page tables look like on this host, for all eBPF programs.

#include "kernel.bpf.h"

// The kernel's levels, top down, as in pte_magic.linux.geometry.LEVELS.
enum level { PGD, P4D, PUD, PMD, PTE, LEVELS };

// Set before loading by pte_magic/walkers/bpf/constants.py, so constants to the verifier.
const volatile struct {
	u64 table_bits; // an entry points to a table if these bits of it
	u64 table_value; // are these
	u64 address; // the bits of such an entry that are the table's address
	u64 above; // and those that, shifted to the left, are its upper bits
	u32 shift_above;
	u32 index; // entries of a table, less one
	u32 shift[LEVELS]; // how many bits of an address lie below what selects an entry; 0: no such level
	u32 use_rcu; // the kernel has the functions above
} machine SEC(".rodata") = {};

static inline int is_table(u64 entry)
{
	return (entry & machine.table_bits) == machine.table_value;
}
