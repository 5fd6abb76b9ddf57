namespace Irpwright.Verification.Rules;

/// <summary>A timer is in the kernel's table until it has expired or was cancelled.</summary>
sealed class IwFreedActiveTimer() : FreedMemoryRule(ActiveKind.Timer)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedActiveTimer), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0x15),
        "Memory is freed that contains a timer which is still set.",
        static () => new IwFreedActiveTimer())
    {
        Covers = ["DV-C4-0x15", "BC-0xC7-0x0"],
        Instead = "Call KeCancelTimer before the memory is freed, and KeFlushQueuedDpcs if that says that the timer has expired.",
        Wrong = """
            KeSetTimer(&context->Timer, due, &context->Dpc);
            ExFreePoolWithTag(context, 'gaT1');
            """,
        Right = """
            KeSetTimer(&context->Timer, due, &context->Dpc);
            if (!KeCancelTimer(&context->Timer)) KeFlushQueuedDpcs();
            ExFreePoolWithTag(context, 'gaT1');
            """,
    };

    protected override string What => "a timer that is still set";

    protected override string Consequence => "When it expires, the kernel writes to memory that may be another driver's.";
}
