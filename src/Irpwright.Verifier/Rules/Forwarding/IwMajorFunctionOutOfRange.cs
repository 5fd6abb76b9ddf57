namespace Irpwright.Verification.Rules;

/// <summary>The code indexes the target's table of dispatch routines, which has 28 entries (CALL-11).</summary>
sealed class IwMajorFunctionOutOfRange : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwMajorFunctionOutOfRange), RuleFamily.Forwarding, Error,
        Pages.Kernel("irp-major-function-codes"), null,
        "IoCallDriver is called with a major function code above IRP_MJ_MAXIMUM_FUNCTION in the next stack location.",
        static () => new IwMajorFunctionOutOfRange())
    {
        Instead = "Set MajorFunction to one of the IRP_MJ_ codes.",
        Wrong = """
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_MAXIMUM_FUNCTION + 1;
            IoCallDriver(lower, irp);
            """,
        Right = """
            IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_INTERNAL_DEVICE_CONTROL;
            IoCallDriver(lower, irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarding e)
    {
        if (!GuestMemory.IsAccessible(e.Irp.Address, IRP.SizeOf, PageAccess.Read) || e.Irp.Type != IO_TYPE_IRP) return;
        sbyte next = (sbyte)(e.Irp.CurrentLocation - 1);
        if (next < 1 || next > e.Irp.StackCount) return;
        byte major = Tracker.Irp.LocationAt(next).MajorFunction;
        if (major <= IRP_MJ_MAXIMUM_FUNCTION) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with major function 0x{major:X2}; the highest there is is "
                + $"0x{IRP_MJ_MAXIMUM_FUNCTION:X2}.");
    }
}
