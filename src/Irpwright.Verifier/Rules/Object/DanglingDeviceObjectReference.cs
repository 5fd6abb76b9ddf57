namespace Irpwright.Verification.Rules;

/// <summary>A device object with a reference too many is never deleted.</summary>
sealed class DanglingDeviceObjectReference : Rule, IWatchCalls, IWatchReturns, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(DanglingDeviceObjectReference), RuleFamily.Object, Warning,
        Pages.Wdm(nameof(DanglingDeviceObjectReference)), null,
        "A driver unloads without having called ObDereferenceObject for a device object that IoGetAttachedDeviceReference returned.",
        static () => new DanglingDeviceObjectReference())
    {
        Instead = "Call ObDereferenceObject with the pointer that IoGetAttachedDeviceReference returned, on every path, when the device is not needed any more.",
        Wrong = """
            top = IoGetAttachedDeviceReference(Pdo);
            status = IoCallDriver(top, irp);
            return status;
            """,
        Right = """
            top = IoGetAttachedDeviceReference(Pdo);
            status = IoCallDriver(top, irp);
            ObDereferenceObject(top);
            return status;
            """,
    };

    readonly List<(ulong Device, CodePlace By)> references = [];

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.IoGetAttachedDeviceReference, KernelExports.ObfDereferenceObject, KernelExports.ObDereferenceObject];

    public void Called(in DdiCalled e)
    {
        if (e.Export == KernelExports.IoGetAttachedDeviceReference || references.Count == 0) return;
        ulong device = e.Arguments[0];
        int index = references.FindLastIndex(reference => reference.Device == device);
        if (index >= 0) references.RemoveAt(index);
    }

    public void Returned(in DdiReturned e)
    {
        if (e.Export == KernelExports.IoGetAttachedDeviceReference && e.Result != 0) references.Add((e.Result, Tracker.Caller));
    }

    public void On(in DriverUnloaded e)
    {
        foreach ((ulong device, CodePlace by) in references)
        {
            if (!by.IsIn(e.DriverObject)) continue;
            Report(by, default, $"{e.Name} was unloaded, but the reference to the device object at {Format.Address(device)} that {by} got from "
                + "IoGetAttachedDeviceReference was never given back.");
        }
        PDRIVER_OBJECT driver = e.DriverObject;
        references.RemoveAll(reference => reference.By.IsIn(driver));
    }
}
