namespace Irpwright.Verification.Rules;

/// <summary>A program may free or protect its memory at any moment, also from another thread: whoever touches it must be ready for the exception.</summary>
sealed class IwUserMemoryUnguarded : MemoryRule, IWatch<UserMemoryTouched>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUserMemoryUnguarded), RuleFamily.Memory, Error,
        Pages.Kernel("errors-in-referencing-user-space-addresses"), new VerifierCode(BugCheckCode.SYSTEM_SERVICE_EXCEPTION),
        "Compiled code touches user memory outside of every __try with an __except.",
        static () => new IwUserMemoryUnguarded())
    {
        Instead = "Touch user memory inside of __try, and complete the request with the exception's code in __except; or let the I/O manager copy or lock the buffer.",
        Wrong = """
            length = ((PREQUEST)location->Parameters.DeviceIoControl.Type3InputBuffer)->Length;
            """,
        Right = """
            __try {
                ProbeForRead(input, sizeof(REQUEST), 1);
                length = ((PREQUEST)input)->Length;
            } __except (EXCEPTION_EXECUTE_HANDLER) {
                status = GetExceptionCode();
            }
            """,
    };

    public void On(in UserMemoryTouched e)
    {
        if (e.IsGuarded) return;
        Report(PlaceOf(e.Instruction), Tracker.Thread.Frame?.Irp ?? default,
            $"{Code(e.Instruction)} {(e.IsWrite ? "wrote" : "read")} user memory at {Format.Address(e.Address)} outside of any __try: if the program has freed it, the system stops.");
    }
}
