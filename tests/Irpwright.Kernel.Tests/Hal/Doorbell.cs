namespace Irpwright.Kernel.Tests.Hal;

/// <summary>
/// A device that works for a while when its doorbell is rung and then raises its interrupt, until the status register is read or
/// written.
/// </summary>
sealed class Doorbell(Machine machine, InterruptPin pin, TimeSpan latency) : IDeviceModel
{
    public const ulong Ring = 0, Status = 4;

    uint done;

    public ulong Read(ulong offset, int size)
    {
        if (offset != Status) return 0;
        uint count = done;
        done = 0;
        pin.Lower();
        return count;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (offset != Ring) return;
        machine.Hardware.After(this, latency, () =>
        {
            done++;
            pin.Raise();
        });
    }
}
