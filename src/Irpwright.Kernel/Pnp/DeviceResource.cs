using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A hardware resource of a device.</summary>
/// <param name="Type">CmResourceType*.</param>
/// <param name="Start">First port, physical address, vector, channel or bus number.</param>
/// <param name="Length">Ports, bytes or bus numbers; the IRQL of an interrupt.</param>
/// <param name="Flags">CM_RESOURCE_* of the type.</param>
public readonly record struct DeviceResource(byte Type, ulong Start, uint Length, ushort Flags = 0)
{
    const ushort CM_RESOURCE_PORT_IO = 1;

    public static DeviceResource Port(ulong start, uint count) => new(CmResourceTypePort, start, count, CM_RESOURCE_PORT_IO);

    public static DeviceResource Memory(ulong start, uint bytes) => new(CmResourceTypeMemory, start, bytes);

    public static DeviceResource Interrupt(uint vector, byte irql) => new(CmResourceTypeInterrupt, vector, irql);

    public static DeviceResource Dma(uint channel) => new(CmResourceTypeDma, channel, 1);

    bool IsRange => Type is CmResourceTypePort or CmResourceTypeMemory;

    /// <summary>Whether two devices cannot both have them.</summary>
    internal bool Conflicts(DeviceResource other) => Type == other.Type &&
        (IsRange ? Start < other.Start + other.Length && other.Start < Start + Length : Type != CmResourceTypeDeviceSpecific && Start == other.Start);

    CM_PARTIAL_RESOURCE_DESCRIPTOR Descriptor(byte shareDisposition)
    {
        var descriptor = new CM_PARTIAL_RESOURCE_DESCRIPTOR { Type = Type, ShareDisposition = shareDisposition, Flags = Flags };
        switch (Type)
        {
            case CmResourceTypeInterrupt:
                descriptor.u.Interrupt = new() { Level = Length, Vector = (uint)Start, Affinity = ulong.MaxValue };
                break;
            case CmResourceTypeDma:
                descriptor.u.Dma.Channel = (uint)Start;
                break;
            case CmResourceTypeBusNumber:
                descriptor.u.BusNumber = new() { Start = (uint)Start, Length = Length };
                break;
            default:
                descriptor.u.Generic = new() { Start = (long)Start, Length = Length };
                break;
        }
        return descriptor;
    }

    IO_RESOURCE_DESCRIPTOR Requirement()
    {
        var descriptor = new IO_RESOURCE_DESCRIPTOR { Type = Type, ShareDisposition = Exclusive, Flags = Flags };
        switch (Type)
        {
            case CmResourceTypeInterrupt:
                descriptor.u.Interrupt = new() { MinimumVector = (uint)Start, MaximumVector = (uint)Start };
                break;
            case CmResourceTypeDma:
                descriptor.u.Dma = new() { MinimumChannel = (uint)Start, MaximumChannel = (uint)Start };
                break;
            case CmResourceTypeBusNumber:
                descriptor.u.BusNumber = new() { Length = Length, MinBusNumber = (uint)Start, MaxBusNumber = (uint)Start + Length - 1 };
                break;
            default:
                descriptor.u.Generic = new() { Length = Length, Alignment = 1, MinimumAddress = (long)Start, MaximumAddress = (long)(Start + Length - 1) };
                break;
        }
        return descriptor;
    }

    const byte Exclusive = 1; // CmResourceShareDeviceExclusive
    const int ListHeader = CM_RESOURCE_LIST.SizeOf - CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf;
    const int RequirementsHeader = IO_RESOURCE_REQUIREMENTS_LIST.SizeOf - IO_RESOURCE_DESCRIPTOR.SizeOf;

    /// <summary>A CM_RESOURCE_LIST with one full descriptor; empty for no resources.</summary>
    internal static byte[] ToResourceList(IReadOnlyList<DeviceResource> resources, INTERFACE_TYPE bus, uint busNumber)
    {
        if (resources.Count == 0) return [];
        byte[] list = new byte[ListHeader + resources.Count * CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf];
        BinaryPrimitives.WriteInt32LittleEndian(list, 1);
        BinaryPrimitives.WriteInt32LittleEndian(list.AsSpan(4), (int)bus);
        BinaryPrimitives.WriteUInt32LittleEndian(list.AsSpan(8), busNumber);
        BinaryPrimitives.WriteUInt32LittleEndian(list.AsSpan(12), 0x0001_0001); // version and revision
        BinaryPrimitives.WriteInt32LittleEndian(list.AsSpan(16), resources.Count);
        for (int i = 0; i < resources.Count; i++)
        {
            CM_PARTIAL_RESOURCE_DESCRIPTOR descriptor = resources[i].Descriptor(Exclusive);
            MemoryMarshal.Write(list.AsSpan(ListHeader + i * CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf), in descriptor);
        }
        return list;
    }

    /// <summary>An IO_RESOURCE_REQUIREMENTS_LIST that only these resources satisfy; empty for no resources.</summary>
    internal static byte[] ToRequirements(IReadOnlyList<DeviceResource> resources)
    {
        if (resources.Count == 0) return [];
        byte[] list = new byte[RequirementsHeader + resources.Count * IO_RESOURCE_DESCRIPTOR.SizeOf];
        BinaryPrimitives.WriteInt32LittleEndian(list, list.Length);
        BinaryPrimitives.WriteInt32LittleEndian(list.AsSpan(0x1C), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(list.AsSpan(0x20), 0x0001_0001);
        BinaryPrimitives.WriteInt32LittleEndian(list.AsSpan(0x24), resources.Count);
        for (int i = 0; i < resources.Count; i++)
        {
            IO_RESOURCE_DESCRIPTOR descriptor = resources[i].Requirement();
            MemoryMarshal.Write(list.AsSpan(RequirementsHeader + i * IO_RESOURCE_DESCRIPTOR.SizeOf), in descriptor);
        }
        return list;
    }

    /// <summary>The resources of a CM_RESOURCE_LIST.</summary>
    internal static List<DeviceResource> FromResourceList(ReadOnlySpan<byte> list)
    {
        var resources = new List<DeviceResource>();
        if (list.IsEmpty) return resources;
        int at = 4;
        for (int full = BinaryPrimitives.ReadInt32LittleEndian(list); full > 0; full--)
        {
            int count = BinaryPrimitives.ReadInt32LittleEndian(list[(at + 12)..]);
            at += 16;
            for (; count > 0; count--, at += CM_PARTIAL_RESOURCE_DESCRIPTOR.SizeOf)
                resources.Add(FromDescriptor(MemoryMarshal.Read<CM_PARTIAL_RESOURCE_DESCRIPTOR>(list[at..])));
        }
        return resources;
    }

    static DeviceResource FromDescriptor(CM_PARTIAL_RESOURCE_DESCRIPTOR descriptor) => descriptor.Type switch
    {
        CmResourceTypeInterrupt => new(descriptor.Type, descriptor.u.Interrupt.Vector, descriptor.u.Interrupt.Level, descriptor.Flags),
        CmResourceTypeDma => new(descriptor.Type, descriptor.u.Dma.Channel, 1, descriptor.Flags),
        CmResourceTypeBusNumber => new(descriptor.Type, descriptor.u.BusNumber.Start, descriptor.u.BusNumber.Length, descriptor.Flags),
        _ => new(descriptor.Type, (ulong)descriptor.u.Generic.Start, descriptor.u.Generic.Length, descriptor.Flags),
    };

    /// <summary>Chooses for each requirement of the first alternative list that can be satisfied; null if none can.</summary>
    /// <param name="taken">What other devices have.</param>
    internal static List<DeviceResource>? Choose(ReadOnlySpan<byte> requirements, IReadOnlyCollection<DeviceResource> taken)
    {
        int at = 0x20;
        for (int lists = BinaryPrimitives.ReadInt32LittleEndian(requirements[0x1C..]); lists > 0; lists--)
        {
            int count = BinaryPrimitives.ReadInt32LittleEndian(requirements[(at + 4)..]);
            at += 8;
            if (ChooseFrom(requirements.Slice(at, count * IO_RESOURCE_DESCRIPTOR.SizeOf), taken) is { } chosen) return chosen;
            at += count * IO_RESOURCE_DESCRIPTOR.SizeOf;
        }
        return null;
    }

    const byte IO_RESOURCE_ALTERNATIVE = 8;
    const byte IrqlOfVectors = 5;

    // A descriptor and the alternatives that follow it stand for one resource.
    static List<DeviceResource>? ChooseFrom(ReadOnlySpan<byte> descriptors, IReadOnlyCollection<DeviceResource> taken)
    {
        var chosen = new List<DeviceResource>();
        bool satisfied = true;
        for (int at = 0; at < descriptors.Length; at += IO_RESOURCE_DESCRIPTOR.SizeOf)
        {
            IO_RESOURCE_DESCRIPTOR wanted = MemoryMarshal.Read<IO_RESOURCE_DESCRIPTOR>(descriptors[at..]);
            bool isAlternative = (wanted.Option & IO_RESOURCE_ALTERNATIVE) != 0;
            if (isAlternative && satisfied) continue;
            if (!isAlternative && !satisfied) return null;
            satisfied = TryChoose(wanted, [.. taken, .. chosen], out DeviceResource resource);
            if (satisfied) chosen.Add(resource);
        }
        return satisfied ? chosen : null;
    }

    static bool TryChoose(IO_RESOURCE_DESCRIPTOR wanted, IReadOnlyCollection<DeviceResource> taken, out DeviceResource resource)
    {
        (ulong first, ulong last, uint length, uint step) = wanted.Type switch
        {
            CmResourceTypeInterrupt => (wanted.u.Interrupt.MinimumVector, wanted.u.Interrupt.MaximumVector, 1u, 1u),
            CmResourceTypeDma => (wanted.u.Dma.MinimumChannel, wanted.u.Dma.MaximumChannel, 1u, 1u),
            CmResourceTypeBusNumber => (wanted.u.BusNumber.MinBusNumber, wanted.u.BusNumber.MaxBusNumber, wanted.u.BusNumber.Length, 1u),
            _ => ((ulong)wanted.u.Generic.MinimumAddress, (ulong)wanted.u.Generic.MaximumAddress, wanted.u.Generic.Length, Math.Max(1, wanted.u.Generic.Alignment)),
        };
        bool isShared = wanted.ShareDisposition == Shared;
        uint second = wanted.Type == CmResourceTypeInterrupt ? IrqlOfVectors : length;
        ulong start = (first + step - 1) / step * step;
        resource = new DeviceResource(wanted.Type, start, second, wanted.Flags);
        while (resource.Start + length - 1 <= last)
        {
            DeviceResource candidate = resource;
            ulong next = 0;
            foreach (DeviceResource other in taken)
            {
                if (!isShared && other.Conflicts(candidate)) next = Math.Max(next, other.IsRange ? other.Start + other.Length : other.Start + 1);
            }
            if (next == 0) return true;
            resource = resource with { Start = (next + step - 1) / step * step };
        }
        return false;
    }

    const byte Shared = 3; // CmResourceShareShared
}
