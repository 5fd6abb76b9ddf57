namespace Irpwright.Verification.Tracking;

/// <summary>An IRP in one of its uses, and how reports call it.</summary>
/// <param name="Use">1 for the first IRP that was seen; it has another one each time that it is reused. 0 for one that no rule has seen.</param>
public readonly record struct IrpName(int Use, IrpLabel Label, byte MajorFunction, ulong Address)
{
    internal static IrpName Unseen(ulong address) => new(0, default, 0, address);

    /// <summary>Whether it is a read, a write or a device control, of which there are many and few rules.</summary>
    public bool MovesData => MajorFunction is IRP_MJ_READ or IRP_MJ_WRITE or IRP_MJ_DEVICE_CONTROL or IRP_MJ_INTERNAL_DEVICE_CONTROL;

    public override string ToString()
    {
        if (Use == 0) return $"the IRP at {Format.Address(Address)}";
        return Label.Number == 0 ? $"the IRP at {Format.Address(Address)} ({Format.MajorFunction(MajorFunction)})" : $"{Label} ({Format.MajorFunction(MajorFunction)})";
    }
}
