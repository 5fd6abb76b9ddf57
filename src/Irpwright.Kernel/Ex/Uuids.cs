using System.Buffers.Binary;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Makes UUIDs from the machine's time and a counter, so that a controlled run repeats.</summary>
public sealed class Uuids
{
    const long GregorianOffset = 5_748_192_000_000_000; // 100 ns from 1582-10-15 to 1601-01-01
    const ulong Node = 0x0249_7270_7772; // locally administered: no network card has it

    readonly Machine machine;
    long last;

    internal Uuids(Machine machine) => this.machine = machine;

    /// <summary>Makes a UUID of version 1 that this machine has not made before. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ExUuidCreate(out Guid Uuid)
    {
        long time, previous;
        do
        {
            previous = Volatile.Read(ref last);
            time = Math.Max(machine.Time.Now + GregorianOffset, previous + 1);
        }
        while (Interlocked.CompareExchange(ref last, time, previous) != previous);
        Span<byte> tail = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(tail, 0x8000_0000_0000_0000 | Node);
        Uuid = new Guid((uint)time, (ushort)(time >> 32), (ushort)(0x1000 | time >> 48 & 0x0FFF), tail[0], tail[1], tail[2], tail[3], tail[4], tail[5], tail[6], tail[7]);
        return STATUS_SUCCESS;
    }
}
