/*
 * What the Microsoft compiler's libraries put into a driver: the security cookie, the entry point that makes sure of it, and the load
 * configuration, in which the system finds the cookie and what control flow guard needs.
 *   https://learn.microsoft.com/cpp/build/reference/gs-buffer-security-check
 *   https://learn.microsoft.com/windows/win32/secbp/pe-metadata
 */
#pragma once

#define MSVC_DEFAULT_COOKIE 0x00002B992DDFA232ULL
#define MSVC_FAST_FAIL_STACK_COOKIE 2
#define MSVC_FAST_FAIL_COOKIE_INIT 6

DRIVER_INITIALIZE DriverEntry;
DRIVER_INITIALIZE GsDriverEntry;

ULONG_PTR __security_cookie = MSVC_DEFAULT_COOKIE;

static DECLSPEC_NORETURN void MsvcFastFail(ULONG Code)
{
    __asm__ volatile("int $0x29" : : "c"(Code));
    __builtin_unreachable();
}

/* Called before a routine with an array on its stack returns, with what lies behind the array. */
__attribute__((used)) void __security_check_cookie(ULONG_PTR Cookie)
{
    if (Cookie != __security_cookie) {
        MsvcFastFail(MSVC_FAST_FAIL_STACK_COOKIE);
    }
}

/* The system has replaced the cookie before it calls this. */
NTSTATUS GsDriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    if (__security_cookie == 0 || __security_cookie == MSVC_DEFAULT_COOKIE) {
        MsvcFastFail(MSVC_FAST_FAIL_COOKIE_INIT);
    }

    return DriverEntry(DriverObject, RegistryPath);
}

/* Where guarded calls go until the system points them to its own routines: everything may be called. */
void MsvcGuardCheckNop(void);
void MsvcGuardDispatchNop(void);
__asm__(".text\n"
        ".globl MsvcGuardCheckNop\n.def MsvcGuardCheckNop; .scl 2; .type 32; .endef\nMsvcGuardCheckNop: ret\n"
        ".globl MsvcGuardDispatchNop\n.def MsvcGuardDispatchNop; .scl 2; .type 32; .endef\nMsvcGuardDispatchNop: rex64 jmp *%rax\n");

__attribute__((used, section(".00cfg"))) void (*const __guard_check_icall_fptr)(void) = MsvcGuardCheckNop;
__attribute__((used, section(".00cfg"))) void (*const __guard_dispatch_icall_fptr)(void) = MsvcGuardDispatchNop;

/* The linker makes these; their addresses are what counts. */
extern UCHAR __guard_fids_table[], __guard_fids_count[], __guard_iat_table[], __guard_iat_count[];
extern UCHAR __guard_longjmp_table[], __guard_longjmp_count[], __guard_flags[];

/* IMAGE_LOAD_CONFIG_DIRECTORY64 up to GuardLongJumpTargetCount. */
__attribute__((used)) const struct {
    ULONG Size;
    ULONG TimeDateStamp;
    ULONG Version;
    ULONG GlobalFlags[3];
    ULONG_PTR Memory[8];
    ULONG_PTR SecurityCookie;
    ULONG_PTR Handlers[2];
    const void *GuardCFCheckFunctionPointer;
    const void *GuardCFDispatchFunctionPointer;
    const void *GuardCFFunctionTable;
    const void *GuardCFFunctionCount;
    const void *GuardFlags;
    ULONG_PTR CodeIntegrity;
    const void *GuardAddressTakenIatEntryTable;
    const void *GuardAddressTakenIatEntryCount;
    const void *GuardLongJumpTargetTable;
    const void *GuardLongJumpTargetCount;
} _load_config_used = {
    .Size = 0xC0,
    .SecurityCookie = (ULONG_PTR)&__security_cookie,
    .GuardCFCheckFunctionPointer = &__guard_check_icall_fptr,
    .GuardCFDispatchFunctionPointer = &__guard_dispatch_icall_fptr,
    .GuardCFFunctionTable = __guard_fids_table,
    .GuardCFFunctionCount = __guard_fids_count,
    .GuardFlags = __guard_flags,
    .GuardAddressTakenIatEntryTable = __guard_iat_table,
    .GuardAddressTakenIatEntryCount = __guard_iat_count,
    .GuardLongJumpTargetTable = __guard_longjmp_table,
    .GuardLongJumpTargetCount = __guard_longjmp_count,
};
