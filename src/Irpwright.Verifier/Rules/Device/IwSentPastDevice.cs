namespace Irpwright.Verification.Rules;

/// <summary>Every driver of a stack gets what goes down it.</summary>
sealed class IwSentPastDevice : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwSentPastDevice), RuleFamily.Device, Error,
        Pages.IoVerification, Codes.Io(0x211),
        "A driver sends an IRP that it received past the next lower device of its stack, to one further below.",
        static () => new IwSentPastDevice())
    {
        Covers = ["DV-C9-0x211"],
        Instead = "Send to the device that IoAttachDeviceToDeviceStack returned, not to the PDO.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(extension->PhysicalDevice, Irp);
            """,
        Right = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(extension->LowerDevice, Irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Owner is not { Below.IsNull: false } sender || e.DeviceObject == sender.Below) return;
        for (PDEVICE_OBJECT device = sender.Below; !device.IsNull; device = device.DeviceObjectExtension.AttachedTo)
        {
            if (device != e.DeviceObject) continue;
            Report(Tracker.Caller, Tracker.Irp.Name,
                $"{Tracker.Caller} sent {Tracker.Irp} to {Machine.Objects.NameOf(e.DeviceObject)}, past {Machine.Objects.NameOf(sender.Below)}, which it is attached to.");
            return;
        }
    }
}
