using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>Requests of a user program to a RAM disk, directly or through a compiled filter.</summary>
sealed class Requests : IDisposable
{
    readonly byte[] buffer = new byte[512];
    readonly Verifier? verifier;
    DeviceHandle handle = null!;

    /// <param name="filter">File of the filter's driver; null for none.</param>
    /// <param name="rules">Whether all rules are on.</param>
    public Requests(string? filter, bool checksMemory = false, bool rules = false)
    {
        Machine = new Machine(new MachineOptions { ChecksMemory = checksMemory });
        if (rules) verifier = Verifier.Attach(Machine);
        GuestDrivers? guest = filter is null ? null : new GuestDrivers(Machine);
        Machine.Run(() =>
        {
            Stack.Check(Machine.Drivers.Load(new RamDisk(64 * 1024), "ramdisk", out _));
            if (!Machine.Objects.TryFind(@"\Device\RamDisk0", out ulong disk, out _)) throw new InvalidOperationException("The disk has no device.");
            if (guest is not null) Stack.Check(Machine.Drivers.AddDevice(Stack.Start(guest, filter!), new PDEVICE_OBJECT(disk)));
            handle = DeviceHandle.Open(Machine, @"\Device\RamDisk0");
        });
    }

    public Machine Machine { get; }

    public Workload Workload => new(Machine, Read);

    public void Read(int count)
    {
        for (int i = 0; i < count; i++)
        {
            IoResult result = handle.Read(buffer, 1024);
            if (result.Status != STATUS_SUCCESS || result.Information != (ulong)buffer.Length) throw new InvalidOperationException($"A read ended with {result}.");
        }
    }

    public void Dispose()
    {
        if (verifier is { Violations: [var first, ..] }) throw new InvalidOperationException($"A rule was broken: {first}");
        Machine.Dispose();
    }
}
