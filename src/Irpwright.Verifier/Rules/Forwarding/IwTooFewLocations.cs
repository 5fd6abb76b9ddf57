namespace Irpwright.Verification.Rules;

/// <summary>Every driver from the target down needs a location (STK-02, STK-03).</summary>
sealed class IwTooFewLocations : Rule, IWatch<IrpForwarding>
{
    public static RuleInfo Definition { get; } = new(nameof(IwTooFewLocations), RuleFamily.Forwarding, Error,
        Pages.IoVerification, Codes.Io(0x208),
        "An IRP is sent to a device whose StackSize is greater than the number of locations that are left.",
        static () => new IwTooFewLocations())
    {
        Covers = ["DV-C9-0x208", "BC-0x35"],
        Instead = "Allocate the IRP with the StackSize of the device that it is sent to.",
        Wrong = """
            irp = IoAllocateIrp(1, FALSE);
            IoCallDriver(topOfAnotherStack, irp);
            """,
        Right = """
            irp = IoAllocateIrp(topOfAnotherStack->StackSize, FALSE);
            IoCallDriver(topOfAnotherStack, irp);
            """,
    };

    public Situation When => Situation.Irregular;

    public void On(in IrpForwarding e)
    {
        if (!GuestMemory.IsAccessible(e.Irp.Address, IRP.SizeOf, PageAccess.Read) || e.Irp.Type != IO_TYPE_IRP) return;
        if (!GuestMemory.IsAccessible(e.DeviceObject.Address, DEVICE_OBJECT.SizeOf, PageAccess.Read) || e.DeviceObject.Type != IO_TYPE_DEVICE) return;
        IrpRecord irp = Tracker.Irp;
        // That is IwTookLocationOfBuiltIrp's.
        bool tookOne = Tracker.Owner is null && irp is { Forwards: 0, Origin: IrpOrigin.Threaded or IrpOrigin.Asynchronous }
            && e.Irp.CurrentLocation <= irp.StackCount;
        if (tookOne) return;
        int left = e.Irp.CurrentLocation - 1;
        if (left >= e.DeviceObject.StackSize) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with {Math.Max(left, 0)} stack locations left to a device that needs {e.DeviceObject.StackSize}.");
    }
}
