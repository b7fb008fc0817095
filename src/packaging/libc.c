/* What of the C library and of the unwinder is not to come into the program that is shipped, for
   src/packaging/release: 200 KB of it were nothing but what these four would bring along. */
#include <stdarg.h>
#include <stdlib.h>

/* pthread_getattr_np, which std asks where the stack of main is, reads lines of /proc/self/maps
   by "%lx-%lx", and nothing else reads anything so. glibc's reads all that C can, floating-point
   numbers and wide characters too. nptl/pthread_getattr_np.c */
int __isoc99_sscanf(const char *text, const char *format, ...)
{
    va_list to;
    char *end;
    int found;

    (void)format;
    va_start(to, format);
    *va_arg(to, unsigned long *) = strtoul(text, &end, 16);
    found = *end == '-';
    if (found)
        *va_arg(to, unsigned long *) = strtoul(end + 1, &end, 16);
    va_end(to);
    return found ? 2 : 0;
}

/* Messages in the language that was set by setlocale, which nobody calls: as they are.
   intl/dcgettext.c */
char *__dcgettext(const char *domain, const char *text, int category)
{
    (void)domain;
    (void)category;
    return (char *)text;
}

/* Where a new thread notes its state as it looks up names of hosts: none are. With glibc's come
   the lookups. resolv/res_libc.c, nptl/pthread_create.c */
__thread void *__libc_resp;

/* Nothing is unwound: a panic ends the program, and what would tell how is not in it (release.ld).
   What is compiled with the standard library names them all the same. */
#define NEVER(name) void name(void) { abort(); }
NEVER(_Unwind_ForcedUnwind)
NEVER(_Unwind_GetCFA)
NEVER(_Unwind_GetDataRelBase)
NEVER(_Unwind_GetIPInfo)
NEVER(_Unwind_GetLanguageSpecificData)
NEVER(_Unwind_GetRegionStart)
NEVER(_Unwind_GetTextRelBase)
NEVER(_Unwind_Resume)
NEVER(_Unwind_SetGR)
NEVER(_Unwind_SetIP)
