// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// Walk the page tables of the address space behind an open /proc/PID/pagemap.
//
// Run with BPF_PROG_TEST_RUN: the program executes in the context of the calling thread, finds the
// file in that thread's descriptor table, takes the mm_struct from it and copies the entries of
// [start, end) into the map `entries`, with one row of `spans` for each run of equal level. It only
// reads, and every read is fault-safe (bpf_probe_read_kernel).
//
// No lock is held, so every table is read between two looks at the path that leads to it. The look after a
// table is the one before the next table, too, as far as their paths are the same, if both tables are read
// in one critical section of RCU, or directly one after the other where there is none:
//
//   * The pgd page lives as long as the mm_struct, on which the open file holds a reference
//     (mm_count). If pgd -> ... -> pmd holds the same values before and after the copy, the table
//     was linked at both times; otherwise the step is repeated.
//   * A table that was unlinked and linked again in the same place meanwhile goes unnoticed. Within
//     the half microsecond of a copy that takes a preemption, and then both halves are still
//     entries of this place. rcu_read_lock keeps it from happening where the kernel frees tables
//     by RCU: for khugepaged since 6.6, for munmap since 6.15.
//   * An mm without users is torn down by exit_mmap(): it is refused, before and after.
//
// The kernel's functions and structures are in kernel.bpf.h. What page tables look like is data, set
// before loading, in page_tables.bpf.h: one object serves x86-64 and arm64.

#include "page_tables.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

enum {
	PART = 512, // entries of a table that are copied at once: all of them where a page has 4 KiB
	CHUNK = 1 << 17, // entries a call returns at most, about
	MAX_SPANS = 1 << 13,
	MARGIN = 1024,	 // the step that passes CHUNK still finishes its part
	MAX_STEPS = 1 << 20,
	MAX_RETRIES = 1 << 12,
	TOGETHER = 8, // tables in one critical section: some microseconds
};

enum status { OK, BAD_DESCRIPTOR, NOT_PAGEMAP, NO_MM, EXITED, UNSTABLE };
enum flags {
	TABLES = 1, // also the entries passed on the way
	ONCE = 2, // do not try again what cannot be read
};

struct span {
	u64 vaddr; // first address that the first entry covers
	u64 size;  // bytes that each entry covers
	u32 count;
	u32 level;
};

// The one global, at offset 0 of the object's .bss: a map that libbpf makes mmapable, so user space
// writes the request and reads the results in place. Memory of a map also keeps the verifier from
// following every counter through every iteration. One walk at a time: the caller holds a lock.
// Not static, or libbpf does not make it mmapable. pte_magic/walkers/bpf/walker.py knows the layout.
struct {
	// asked
	u64 origin; // where the whole walk began
	u64 start; // where this call begins; the program sets it to where the next one goes on
	u64 end;
	u32 fd; // in the caller's descriptor table
	u32 flags;
	// answered
	u32 n_entries;
	u32 n_spans;
	// once
	u64 f_op; // file_operations of a pagemap file; 0: any, and reported here
	u64 direct_map; // kernel address at which physical address 0 is mapped
	// told
	u64 mm; // the address space, its pgd, and the caller's own address space
	u64 pgd;
	u64 current_mm;
	u64 repeated; // steps done again because the tables changed
	// between the functions below
	u32 retries; // of this step
	u32 found; // entries before the first that points to a table
	// The path to the next table, as it was found after the last one was copied; in the same critical section.
	u64 slot[4]; // addresses of entries on the way, by level; 0: not known
	u64 passed[4]; // these entries

	struct span spans[MAX_SPANS] __attribute__((aligned(4096)));
	u64 entries[CHUNK + MARGIN] __attribute__((aligned(4096)));
} w;

static inline void push(u64 vaddr, u64 size, u32 count, u32 level)
{
	u64 n = w.n_spans, i = n - 1;

	// The verifiers of 6.1 and 6.12 have to see the check on the very register that is the index.
	asm volatile("" : "+r"(i));
	if (i < MAX_SPANS) {
		struct span *last = &w.spans[i];

		if (last->level == level && last->vaddr + last->size * last->count == vaddr) {
			last->count += count;
			return;
		}
	}
	if (n < MAX_SPANS) {
		w.spans[n].vaddr = vaddr;
		w.spans[n].size = size;
		w.spans[n].count = count;
		w.spans[n].level = level;
		w.n_spans = n + 1;
	}
}

static long find_table(u32 index, u32 *from)
{
	u32 i = *from + index;

	if (i >= CHUNK + MARGIN || is_table(w.entries[i]))
		return 1;
	w.found++;
	return 0;
}

// Copy one table, or as much of it as is copied at once, or the part of it before the next entry
// that points to another table. A level that the kernel folds into the one above is left out.
// Returns 0 if the tables changed meanwhile: nothing is then committed.
static inline int read_table(void)
{
	u64 va = w.start, table = w.pgd, entry = 0, first, last;
	u64 slot[4] = {}, passed[4] = {};
	u32 level, shift, index, count, to = w.n_entries;

#pragma clang loop unroll(full)
	for (level = PGD; level < PTE; level++) {
		if (!machine.shift[level])
			continue;
		slot[level] = table + ((va >> machine.shift[level]) & machine.index) * 8;
		if (slot[level] == w.slot[level])
			entry = w.passed[level];
		else if (bpf_probe_read_kernel(&entry, 8, (void *)slot[level]))
			return 0;
		if (!is_table(entry))
			break;
		passed[level] = entry;
		table = w.direct_map + (entry & machine.address) + ((entry & machine.above) << machine.shift_above);
	}

	shift = machine.shift[level];
	first = va >> shift;
	last = (w.end - 1) >> shift;
	index = first & machine.index;
	count = machine.index + 1 - index;
	if (count > PART)
		count = PART;
	if (last - first < count)
		count = last - first + 1;

	// An entry passed on the way belongs to the first address that it covers.
	if (w.flags & TABLES) {
#pragma clang loop unroll(full)
		for (u32 upper = PGD; upper < PTE; upper++) {
			u64 below = (1ULL << machine.shift[upper]) - 1;

			if (passed[upper] && (va == w.origin || !(va & below)) && to < CHUNK + 8)
				w.entries[to++] = passed[upper];
		}
	}

	// Known already, but the verifier has to see it after the compiler is done.
	asm volatile("" : "+r"(count), "+r"(to));
	if (to >= CHUNK + 8 || count > PART)
		return 0;
	if (bpf_probe_read_kernel(&w.entries[to], count * 8, (void *)(table + index * 8)))
		return 0;
	if (level < PTE) {
		w.found = 0;
		bpf_loop(count, find_table, &to, 0);
		count = w.found;
		if (!count)
			return 0;
	}

#pragma clang loop unroll(full)
	for (u32 upper = PGD; upper < PTE; upper++) {
		u64 found[2];
		// The next table is most often that of the next entry; behind the last one there may be no memory.
		u32 is_with_next = upper == PMD && (slot[upper] >> 3 & machine.index) != machine.index;

		if (!passed[upper])
			continue;
		if (bpf_probe_read_kernel(found, is_with_next ? 16 : 8, (void *)slot[upper]) || found[0] != passed[upper])
			return 0;
		w.slot[upper] = is_with_next ? slot[upper] + 8 : slot[upper];
		w.passed[upper] = is_with_next ? found[1] : found[0];
	}

	if (w.flags & TABLES) {
#pragma clang loop unroll(full)
		for (u32 upper = PGD; upper < PTE; upper++) {
			u64 below = (1ULL << machine.shift[upper]) - 1;

			if (passed[upper] && (va == w.origin || !(va & below)))
				push(va & ~below, below + 1, 1, upper);
		}
	}
	// It may begin before w.start, if a table on the way to that was taken away since: overlapping_rows.py.
	push(first << shift, 1ULL << shift, count, level);
	w.n_entries = to + count;
	w.start = (first + count) << shift;
	return 1;
}

static inline int is_done(void)
{
	return w.start >= w.end || w.n_entries >= CHUNK || w.n_spans > MAX_SPANS - 8;
}

static long step(u32 iteration, void *context)
{
	u64 whole = 1, stop;

	if (is_done())
		return 1;
	if (machine.use_rcu)
		bpf_rcu_read_lock();
	w.slot[PGD] = w.slot[P4D] = w.slot[PUD] = w.slot[PMD] = 0;
	for (u32 i = 0; i < TOGETHER && whole && !is_done(); i++)
		whole = read_table();
	if (machine.use_rcu)
		bpf_rcu_read_unlock();
	if (whole) {
		w.retries = 0;
		return 0;
	}
	w.repeated++;
	stop = ++w.retries > MAX_RETRIES || (w.flags & ONCE);
	// The verifier of 6.1 does not know that the OR of two bits is a bit.
	asm volatile("" : "+r"(stop));
	return stop & 1;
}

SEC("syscall") int walk(void *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *table = task->files->fdt;
	struct file **slot = table->fd, *file = 0;
	const struct file_operations *f_op = 0;
	struct mm_struct *mm = 0;
	atomic_t users = {};
	u64 pgd = 0;

	w.n_entries = w.n_spans = w.retries = w.repeated = 0;
	if (w.fd >= table->max_fds || bpf_probe_read_kernel(&file, 8, slot + w.fd) || !file)
		return BAD_DESCRIPTOR;
	bpf_probe_read_kernel(&f_op, 8, &file->f_op);
	if (w.f_op && w.f_op != (u64)f_op)
		return NOT_PAGEMAP;
	bpf_probe_read_kernel(&mm, 8, &file->private_data);
	if (!mm)
		return NO_MM;
	bpf_probe_read_kernel(&users, sizeof(users), &mm->mm_users);
	if (users.counter <= 0)
		return EXITED;
	bpf_probe_read_kernel(&pgd, 8, &mm->pgd);
	w.f_op = (u64)f_op;
	w.mm = (u64)mm;
	w.current_mm = (u64)task->mm;
	w.pgd = pgd;
	bpf_loop(MAX_STEPS, step, 0, 0);

	bpf_probe_read_kernel(&users, sizeof(users), &mm->mm_users);
	if (users.counter <= 0)
		return EXITED;
	return w.retries > MAX_RETRIES || (w.retries && (w.flags & ONCE)) ? UNSTABLE : OK;
}
