# A kernel module whose init function is one fault. Which one, `as --defsym` says.
#
# In assembly, since a module in C would need the kernel's headers, its build system and
# a compiler near enough to its own. What the kernel checks of a module (the size of its
# struct module, where init is in it, the version magic) is taken by the recipe from a
# module that Debian built for the same kernel: SIZE and INIT, VERMAGIC in vermagic.inc,
# and the file versions.

        .section .modinfo, "a"
        .asciz  "license=GPL"
        .asciz  "name=fault"
        .asciz  "depends="
        .asciz  "retpoline=Y"
        .include "vermagic.inc"

        # Checksums of symbols' types, CONFIG_MODVERSIONS.
        .section __versions, "a"
        .incbin "versions"

        # struct module, include/linux/module.h: all that isn't given here is zero.
        .section .gnu.linkonce.this_module, "aw"
        .globl  __this_module
        .balign 64
__this_module:
        .org    24                      # state and list come first, then name
        .asciz  "fault"
        .org    INIT
        .quad   init_module
        .org    SIZE

# trap FLAGS: ud2 with an entry in the table of BUG() and WARN(),
# struct bug_entry in include/asm-generic/bug.h.
        .macro  trap flags
1:      ud2
        .pushsection __bug_table, "aw"
        .long   1b - .
        .long   3f - .
        .short  27
        .short  \flags
        .popsection
        .pushsection .rodata.str, "aMS", @progbits, 1
3:      .asciz  "images/faults/module.s"
        .popsection
        .endm

        .equ    .Lwarning, 1 << 0       # BUGFLAG_WARNING
        .equ    .Ltaint, 9 << 8         # BUGFLAG_TAINT(TAINT_WARN)

        .text
        .skip   64, 0xcc                # what an oops shows of the code before
        .globl  init_module
        .type   init_module, @function
init_module:
        push    %rbp                    # the unwinder has no table for us, and tries frames
        mov     %rsp, %rbp

        .ifdef  oops                    # CR2 = 0x10: a field of a NULL pointer
        xor     %eax, %eax
        mov     0x10(%rax), %rax
        .endif

        .ifdef  general_protection      # no canonical address: LIST_POISON1 + 1 field
        movabs  $0xdead000000000108, %rax
        mov     (%rax), %rax
        .endif

        .ifdef  bug
        trap    0
        .endif

        .ifdef  warning
        trap    (.Lwarning | .Ltaint)
        .endif

        .ifdef  hang_spinning
        cli
4:      pause
        jmp     4b
        .endif

        .ifdef  hang_halted
        cli
4:      hlt
        jmp     4b
        .endif

        .ifdef  lockup                  # interrupts on, but the processor is never given up
4:      pause
        jmp     4b
        .endif

        .ifdef  rcu_stall               # as above, in an RCU read-side critical section
        call    __rcu_read_lock
4:      pause
        jmp     4b
        .endif

        .ifdef  hung_task               # sleeps without being interruptible
        mov     $3600000, %edi          # ms
        call    msleep
        .endif

        xor     %eax, %eax
        pop     %rbp
        ret
        .size   init_module, . - init_module

        .section .note.GNU-stack, "", @progbits
