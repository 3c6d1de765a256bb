// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
//
// The kernel's functions and structures that the eBPF programs use, and no more of them. The layout of
// structures on the running kernel comes from its BTF (CO-RE).

typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

// Helper numbers: enum bpf_func_id, include/uapi/linux/bpf.h.
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static long (*bpf_loop)(u32 iterations, void *callback, void *context, u64 flags) = (void *)181;

// kfuncs since 6.2.
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms"), weak));
extern void bpf_rcu_read_unlock(void) __attribute__((section(".ksyms"), weak));

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
struct task_struct;
struct mm_struct {
	u64 *pgd;
	atomic_t mm_users;
	struct task_struct *owner;
};
struct file_operations;
struct file {
	const struct file_operations *f_op;
	void *private_data;
};
struct fdtable {
	u32 max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct upid {
	int nr;
	void *ns;
};
struct pid {
	u32 level;
	struct upid numbers[];
};
struct task_struct {
	struct files_struct *files;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
};
#pragma clang attribute pop
