/* A plugin of QEMU's user emulation that counts the AArch64 instructions a process executes, by kind.
 *
 *     cc -shared -fPIC -O2 -o count.so count.c
 *     qemu-aarch64 -plugin ./count.so -d plugin PROGRAM
 *
 * Debian packages no header of QEMU's plugin interface, so what is used of it is declared here, after the
 * documentation of version 1 (docs/devel/tcg-plugins.rst). Counts of threads that run at the same moment
 * may be lost: it is for programs whose work is done on one. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct tb *);
extern struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct insn *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *, int, void *, uint64_t);
extern void qemu_plugin_outs(const char *);
enum { ADD = 0 };

int qemu_plugin_version = 1;

enum { ALL, LOAD_STORE, BRANCH, SIMD_FLOAT, DOT, WIDENING, FUSED, KINDS };
static const char *const NAMES[KINDS] = {"all", "load_store", "branch", "simd_float", "dot_product",
                                         "widening_multiply", "fused_multiply_add"};
static uint64_t counts[KINDS];

/* Encodings: Arm Architecture Reference Manual for A-profile, C4.1 "A64 instruction set encoding". */
static int is_dot(uint32_t w) {
    return (w & 0x9FE0FC00) == 0x0E809400     /* SDOT, UDOT (vector); bit 29 is U */
        || (w & 0x9FC0F400) == 0x0F80E000;    /* by element */
}

static int is_widening(uint32_t w) {
    return (w & 0x9F20FC00) == 0x0E208000     /* SMLAL, UMLAL (vector) */
        || (w & 0x9F20FC00) == 0x0E20C000     /* SMULL, UMULL */
        || (w & 0x9F00F400) == 0x0F002000     /* SMLAL, UMLAL by element */
        || (w & 0x9F00F400) == 0x0F00A000;    /* SMULL, UMULL by element */
}

static int is_fused(uint32_t w) {
    return (w & 0xBFA0FC00) == 0x0E20CC00     /* FMLA (vector) */
        || (w & 0xBF80F400) == 0x0F801000;    /* by element */
}

static void translated(plugin_id id, struct tb *tb) {
    uint64_t here[KINDS] = {0};
    size_t n = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < n; i++) {
        uint32_t w;
        memcpy(&w, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof w);
        here[ALL]++;
        here[LOAD_STORE] += ((w >> 25) & 5) == 4;
        here[BRANCH] += ((w >> 26) & 7) == 5;
        here[SIMD_FLOAT] += ((w >> 25) & 7) == 7;
        here[DOT] += is_dot(w);
        here[WIDENING] += is_widening(w);
        here[FUSED] += is_fused(w);
    }
    for (int kind = 0; kind < KINDS; kind++)
        if (here[kind])
            qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &counts[kind], here[kind]);
}

static void finished(plugin_id id, void *data) {
    char line[64];
    for (int kind = 0; kind < KINDS; kind++) {
        snprintf(line, sizeof line, "count %s %" PRIu64 "\n", NAMES[kind], counts[kind]);
        qemu_plugin_outs(line);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
