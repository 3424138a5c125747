/* A program that has everything that types can be made of; nobody runs it. */
typedef unsigned char u8;
typedef struct { int counter; } atomic_t;
typedef enum { OFF, ON } state_t;
enum kind { ONE = 1, TWO };
enum { NAMELESS = 7, BELOW = -1, BIG = 0x7fffffff };
struct list { struct list *next, **back; };
struct sample {
    u8 low:3, high:4;
    unsigned int wide:17;
    union { long number; const char *text; struct { short a, b; }; } ;
    struct { int x; u8 y[3]; } pair[2];
    struct { long first; char second; } *behind;
    void (*call)(struct sample *, int), (*calls[2])(void);
    int (*const fixed)(const char *, ...);
    const char *const names[3];
    atomic_t usage; state_t state; enum kind kind; struct list list;
    volatile long flags; char comm[16]; long long tail[];
};
extern struct sample elsewhere;
struct sample elsewhere;
static const char *text_of[2];
static int quiet(struct sample *s, const char *const *names) { return s->low + names[0][0]; }
struct list *take(struct list *l, atomic_t a, u8 byte, enum kind kind) { return l->next + byte; }
void nothing(void) {}
int variable(const char *format, ...) { return format[0]; }
unsigned long long long_one(long double d, _Bool b) { return (long)d + b; }
int main(int argc, char **argv) {
    struct sample *s = (void *)argv;
    nothing();
    variable("x", 1);
    take(&s->list, s->usage, 1, TWO);
    elsewhere.flags = NAMELESS + BELOW;
    text_of[1] = argv[0];
    return quiet(s, (void *)argv) + long_one(argc, 1);
}
