// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// What only faults.bpf.c uses: more functions of the kernel, maps, and the registers of a perf event.

typedef unsigned char u8;

#define __always_inline inline __attribute__((always_inline))
#define field_exists(field) __builtin_preserve_field_info(field, 2) // BPF_FIELD_EXISTS of libbpf

enum { HASH = 1, ARRAY = 2, LRU_HASH = 9, MMAPABLE = 1 << 10 }; // enum bpf_map_type; BPF_F_MMAPABLE

// Helper numbers: enum bpf_func_id, include/uapi/linux/bpf.h.
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_for_each_map_elem)(void *map, void *callback, void *context, u64 flags) = (void *)164;

// struct bpf_perf_event_data is registers, a period and an address, and the registers differ: struct
// pt_regs of x86-64 has 21 words, with the instruction pointer in word 16; struct user_pt_regs of arm64
// has 34, with it in word 32. The verifier wants one constant place in each load, and follows only the
// branch that machine, a constant, leads to.
static inline int is_arm64(void)
{
	return machine.table_bits == 3;
}

static __always_inline u64 ip_of(void *context)
{
	u64 found;

	if (is_arm64())
		asm volatile("%0 = *(u64 *)(%1 + 256)" : "=r"(found) : "r"(context));
	else
		asm volatile("%0 = *(u64 *)(%1 + 128)" : "=r"(found) : "r"(context));
	return found;
}

static __always_inline u64 address_of(void *context)
{
	u64 found;

	if (is_arm64())
		asm volatile("%0 = *(u64 *)(%1 + 280)" : "=r"(found) : "r"(context));
	else
		asm volatile("%0 = *(u64 *)(%1 + 176)" : "=r"(found) : "r"(context));
	return found;
}
