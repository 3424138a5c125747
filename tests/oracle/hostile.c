/* The functions and types that the traces of test_hostile.py ask for. */
typedef unsigned char u8;
union either { int number; u8 bytes[4]; };
enum state { OFF, ON };
struct list { struct list *next; };
struct task_struct {
    struct list pids[2]; char comm[16]; unsigned int sign:3, mode:5;
    struct mm_struct { struct { int counter; } mm_users; struct task_struct *mm; } *mm;
    union { union either either; enum state state; }; int (*call)(struct task_struct *, ...);
};
static __attribute__((noinline)) int kept(struct task_struct *p, int a, int b)
{ return p->mode + b; }
int wake_up_new_task(struct task_struct *p, int b) { return kept(p, 1, b); }
int ip_rcv(union either e, u8 array[]) { return e.number + array[0]; }
long many(long a, long b, const char *c, u8 d) { return a + b + c[d]; }
