using Irpwright.Guest;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Verification;
using Irpwright.Wdk;

namespace Irpwright.Benchmarks;

/// <summary>Requests of a user program to a RAM disk, directly or through a filter.</summary>
sealed class Requests : IDisposable
{
    readonly byte[] buffer = new byte[512];
    readonly Verifier? verifier;
    DeviceHandle handle = null!;

    /// <param name="filter">File of a compiled filter; null for none.</param>
    /// <param name="managed">A filter in C#; null for none.</param>
    /// <param name="rules">Whether all rules are on.</param>
    public Requests(string? filter = null, WdmDriver? managed = null, bool checksMemory = false, bool rules = false)
    {
        Machine = new Machine(new MachineOptions { ChecksMemory = checksMemory });
        if (rules) verifier = Verifier.Attach(Machine);
        GuestDrivers? guest = filter is null ? null : new GuestDrivers(Machine);
        Machine.Run(() =>
        {
            Stack.Load(Machine, new RamDisk(64 * 1024), "ramdisk");
            if (!Machine.Objects.TryFind(@"\Device\RamDisk0", out ulong disk, out _)) throw new InvalidOperationException("The disk has no device.");
            if (managed is not null) Stack.Check(Machine.Drivers.AddDevice(Stack.Load(Machine, managed, "filter"), new PDEVICE_OBJECT(disk)));
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
