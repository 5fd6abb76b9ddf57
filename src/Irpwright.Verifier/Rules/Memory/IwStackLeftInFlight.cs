namespace Irpwright.Verification.Rules;

/// <summary>What an IRP in flight points to must outlive it. A local variable is gone when its routine returns, and its place used again.</summary>
sealed class IwStackLeftInFlight : MemoryRule, IWatch<StackFrameLeft>
{
    public static RuleInfo Definition { get; } = new(nameof(IwStackLeftInFlight), RuleFamily.Memory, Error,
        Pages.Ddi("nf-wdm-iobuildsynchronousfsdrequest"), null,
        "A compiled routine returns while an IRP that is not completed points to its local variables: as status block, event, buffer or completion context.",
        static () => new IwStackLeftInFlight())
    {
        Covers = ["BC-0x1F2"],
        Instead = "Wait for the request before the routine returns, without a timeout, or keep event, status block and buffer in nonpaged pool until it is completed.",
        Wrong = "KEVENT event;\nIO_STATUS_BLOCK ioStatus;\n...\nreturn IoCallDriver(lower, irp);",
        Right = "status = IoCallDriver(lower, irp);\nif (status == STATUS_PENDING) {\n    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);\n    status = ioStatus.Status;\n}\nreturn status;",
    };

    public void On(in StackFrameLeft e)
    {
        IrpName name = NameOf(e.Irp.Address);
        string irp = name.Number == 0 ? $"the IRP at {Format.Address(name.Address)}" : name.ToString();
        Report(PlaceOf(e.Instruction), name,
            $"{Code(e.Instruction)} returned while {irp} is in flight, and its {e.Holder} is a local variable of that routine, at {Format.Address(e.Address)}.", e.Irp.Address);
    }
}
