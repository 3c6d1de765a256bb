// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// Record page faults: the entry of the address before each of them, and the entry after it.
//
// Three software events of perf run programs in the thread that faults. PAGE_FAULTS comes before
// handle_mm_fault(), PAGE_FAULTS_MIN and PAGE_FAULTS_MAJ come after it, where the kernel counts the
// fault (mm_account_fault(), mm/memory.c). A fault that the kernel refuses has no such end: it is
// recorded when the thread faults again, or by finish().
//
// The entries are read without a lock, each by one walk, and every read is fault-safe. Another thread
// may change them between the walk and the fault.
//
// Records are elements of an array, in the order in which faults end. It is never emptied: faults for
// which it has no room are counted.

#include "../walkers/bpf/page_tables.bpf.h"
#include "faults.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

enum flags { USER = 1, MAJOR = 2, REFUSED = 4, UNFINISHED = 8 };
enum { NOT_READ = 255, MAX_LEVEL_OF_NAMESPACES = 32 };
enum status { OK, BAD_DESCRIPTOR, NO_OWNER };

// As RECORD of pte_magic/events/fault_record.py.
struct fault {
	u64 time; // of its begin, or of its end if only that was seen
	u64 address;
	u64 ip;
	u64 before;
	u64 after;
	u32 tid;
	u32 pid;
	u32 ns;
	u8 level_before;
	u8 level_after;
	u8 flags;
	u8 unused;
};

// pte_magic/events/bpf_faults.py knows the layout, and that it is at offset 0 of the .bss.
struct {
	// asked
	u64 direct_map; // kernel address at which physical address 0 is mapped
	u64 capacity; // of the array
	u32 active; // faults are recorded
	u32 from_exec; // become active when the process calls execve
	u32 pid; // the process, where begin() cannot ask its pagemap; 0: the caller
	u32 fd; // its pagemap, in the caller's descriptor table
	// told
	u64 count; // of faults, also those without room
	u32 tgid; // the process, in the kernel's first pid namespace
	u32 level; // of the caller's pid namespace; the first one has 0
	u32 has_children; // some are followed
} t;

struct {
	int (*type)[ARRAY];
	int (*map_flags)[MMAPABLE];
	int (*max_entries)[1]; // set before loading
	u32 *key;
	struct fault *value;
} records SEC(".maps");

// The fault of each thread that has not ended; time is 0 if there is none.
struct {
	int (*type)[LRU_HASH];
	int (*max_entries)[1 << 14];
	u32 *key;
	struct fault *value;
} under_way SEC(".maps");

// Processes that descend from the process, by tgid.
struct {
	int (*type)[HASH];
	int (*max_entries)[1 << 13];
	u32 *key;
	u32 *value;
} children SEC(".maps");

static __always_inline void put(const struct fault *fault, u32 flags)
{
	u64 n = __sync_fetch_and_add(&t.count, 1);
	u32 at = n;
	struct fault *record;

	if (n >= t.capacity)
		return;
	record = bpf_map_lookup_elem(&records, &at);
	if (!record)
		return;
	*record = *fault;
	record->flags |= flags;
}

// Return the entry that maps an address, or at which the walk ends.
static __always_inline u64 entry_of(u64 table, u64 va, u8 *at)
{
	u64 entry = 0;

	*at = NOT_READ;
#pragma clang loop unroll(full)
	for (u32 level = PGD; level <= PTE; level++) {
		if (!machine.shift[level])
			continue;
		if (bpf_probe_read_kernel(&entry, 8, (void *)(table + ((va >> machine.shift[level]) & machine.index) * 8))) {
			*at = NOT_READ;
			return 0;
		}
		*at = level;
		if (level == PTE || !is_table(entry))
			break;
		table = t.direct_map + (entry & machine.address) + ((entry & machine.above) << machine.shift_above);
	}
	return entry;
}

// Return the number of a thread in the caller's pid namespace.
static __always_inline u32 number(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	u32 found = task->pid;

	// Else the compiler makes one load of both numbers, through a pointer that is of either kind.
	asm volatile("" : "+r"(found));
	if (t.level && t.level < MAX_LEVEL_OF_NAMESPACES)
		bpf_probe_read_kernel(&found, 4, (void *)((u64)pid->numbers + t.level * sizeof(struct upid)));
	return found;
}

static __always_inline int is_followed(u32 tgid)
{
	return tgid == t.tgid || (t.has_children && bpf_map_lookup_elem(&children, &tgid));
}

static __always_inline void describe(struct fault *fault, void *context)
{
	struct task_struct *task = bpf_get_current_task_btf();

	fault->time = bpf_ktime_get_ns();
	fault->address = address_of(context);
	fault->ip = ip_of(context);
	fault->after = 0;
	fault->tid = number(task);
	fault->pid = number(task->group_leader);
	fault->ns = 0;
	fault->level_after = NOT_READ;
	fault->flags = fault->ip >> 63 ? 0 : USER;
}

SEC("perf_event") int begins(void *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 id = task->pid;
	struct fault *fault, none = {};

	if (!t.active || !is_followed(task->tgid))
		return 0;
	fault = bpf_map_lookup_elem(&under_way, &id);
	if (!fault) {
		bpf_map_update_elem(&under_way, &id, &none, 0);
		fault = bpf_map_lookup_elem(&under_way, &id);
		if (!fault)
			return 0;
	}
	if (fault->time)
		put(fault, REFUSED);
	describe(fault, context);
	fault->before = entry_of((u64)task->mm->pgd, fault->address, &fault->level_before);
	return 0;
}

static __always_inline int ends(void *context, u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 id = task->pid;
	u64 now = bpf_ktime_get_ns(), ns;
	struct fault *fault, alone = {.level_before = NOT_READ};

	if (!t.active || !is_followed(task->tgid))
		return 0;
	fault = bpf_map_lookup_elem(&under_way, &id);
	if (!fault || !fault->time) { // it began before this trace
		describe(&alone, context);
		alone.after = entry_of((u64)task->mm->pgd, alone.address, &alone.level_after);
		put(&alone, flags);
		return 0;
	}
	ns = now - fault->time;
	fault->ns = ns >> 32 ? ~0U : ns;
	fault->after = entry_of((u64)task->mm->pgd, fault->address, &fault->level_after);
	put(fault, flags);
	fault->time = 0;
	return 0;
}

SEC("perf_event") int ends_minor(void *context)
{
	return ends(context, 0);
}

SEC("perf_event") int ends_major(void *context)
{
	return ends(context, MAJOR);
}

SEC("tp_btf/sched_process_fork") int forks(u64 *context)
{
	struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
	u32 tgid = child->tgid, one = 1;

	if (tgid != parent->tgid && is_followed(parent->tgid)) {
		bpf_map_update_elem(&children, &tgid, &one, 0);
		t.has_children = 1;
	}
	return 0;
}

SEC("tp_btf/sched_process_exec") int execs(u64 *context)
{
	struct task_struct *task = (void *)context[0];

	if (t.from_exec && task->tgid == t.tgid)
		t.active = 1;
	return 0;
}

// Find the process: by its pagemap, as its number may be of another pid namespace than the first.
SEC("syscall") int begin(void *context)
{
	struct task_struct *task = bpf_get_current_task_btf(), *owner = 0;
	struct fdtable *table = task->files->fdt;
	struct file **slot = table->fd, *file = 0;
	struct mm_struct *mm = 0;

	t.level = task->thread_pid->level;
	t.tgid = task->tgid;
	if (!t.pid)
		return OK;
	t.tgid = t.pid;
	if (!t.level)
		return OK;
	t.tgid = 0;
	if (t.fd >= table->max_fds || bpf_probe_read_kernel(&file, 8, slot + t.fd) || !file)
		return BAD_DESCRIPTOR;
	bpf_probe_read_kernel(&mm, 8, &file->private_data);
	if (!field_exists(mm->owner)) // without CONFIG_MEMCG
		return NO_OWNER;
	bpf_probe_read_kernel(&owner, 8, &mm->owner);
	bpf_probe_read_kernel(&t.tgid, 4, &owner->tgid);
	return t.tgid ? OK : NO_OWNER;
}

static long finish_one(void *map, const u32 *id, struct fault *fault, void *context)
{
	if (fault->time)
		put(fault, fault->tid == *(u32 *)context ? REFUSED : UNFINISHED);
	fault->time = 0;
	return 0;
}

// Record the faults that have not ended, when the events are disabled.
SEC("syscall") int finish(void *context)
{
	u32 own = number(bpf_get_current_task_btf());

	bpf_for_each_map_elem(&under_way, finish_one, &own, 0);
	return OK;
}
