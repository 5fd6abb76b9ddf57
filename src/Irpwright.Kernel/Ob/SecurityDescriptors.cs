using System.Buffers.Binary;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Security descriptors as data: nothing here decides by what they say.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_security_descriptor"/>
static class SecurityDescriptors
{
    const ushort DaclPresent = 0x0004;
    const ushort SaclPresent = 0x0010;
    const ushort SelfRelative = 0x8000;
    const int RelativeHeader = 20;
    const int PartCount = 4; // owner, group, SACL, DACL, in the order of their fields

    static ReadOnlySpan<byte> LocalSystem => [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];

    static ReadOnlySpan<byte> Administrators => [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];

    static ReadOnlySpan<byte> Everyone => [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    /// <summary>What a named object has that was created without one: all rights for the system and administrators, reading for everyone.</summary>
    internal static byte[] Default(ObjectType type)
    {
        byte[] dacl = [2, 0, 0, 0, 3, 0, 0, 0, .. Allow(type.Mapping.All, LocalSystem), .. Allow(type.Mapping.All, Administrators),
            .. Allow(type.Mapping.Read | type.Mapping.Execute, Everyone)];
        BinaryPrimitives.WriteUInt16LittleEndian(dacl.AsSpan(2), (ushort)dacl.Length);
        return Make(DaclPresent, [Administrators.ToArray(), LocalSystem.ToArray(), null, dacl]);
    }

    static byte[] Allow(uint access, ReadOnlySpan<byte> sid)
    {
        byte[] entry = [0, 0, 0, 0, 0, 0, 0, 0, .. sid];
        BinaryPrimitives.WriteUInt16LittleEndian(entry.AsSpan(2), (ushort)entry.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(4), access);
        return entry;
    }

    static byte[] Make(ushort control, byte[]?[] parts)
    {
        var descriptor = new List<byte>(new byte[RelativeHeader]);
        Span<uint> offsets = stackalloc uint[PartCount];
        for (int i = 0; i < PartCount; i++)
        {
            if (parts[i] is not { } part) continue;
            offsets[i] = (uint)descriptor.Count;
            descriptor.AddRange(part);
        }
        byte[] bytes = [.. descriptor];
        bytes[0] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), (ushort)(control | SelfRelative));
        for (int i = 0; i < PartCount; i++) BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4 + 4 * i), offsets[i]);
        return bytes;
    }

    /// <summary>A self-relative descriptor with some of its parts taken from another one.</summary>
    /// <param name="information">A bit for each part: owner, group, DACL, SACL.</param>
    internal static byte[] Replace(byte[] descriptor, byte[] by, uint information)
    {
        ushort taken = 0, control = BitConverter.ToUInt16(descriptor, 2);
        var parts = new byte[]?[PartCount];
        for (int i = 0; i < PartCount; i++)
        {
            bool isReplaced = (information & InformationOf(i)) != 0;
            parts[i] = PartOf(isReplaced ? by : descriptor, i);
            if (isReplaced) taken |= FlagsOf(i);
        }
        return Make((ushort)((control & ~taken) | (BitConverter.ToUInt16(by, 2) & taken)), parts);
    }

    static uint InformationOf(int part) => part switch { 0 => 1, 1 => 2, 2 => 8, _ => 4 };

    // Whether the part is there, was made by default, or is inherited and protected.
    static ushort FlagsOf(int part) => part switch { 0 => 0x0001, 1 => 0x0002, 2 => 0x2A30, _ => 0x150C };

    static byte[]? PartOf(byte[] descriptor, int part)
    {
        int offset = BitConverter.ToInt32(descriptor, 4 + 4 * part);
        if (offset == 0) return null;
        int length = part >= 2 ? BitConverter.ToUInt16(descriptor, offset + 2) : 8 + 4 * descriptor[offset + 1];
        return descriptor[offset..(offset + length)];
    }

    /// <summary>Copies a descriptor of either form from guest memory; the copy is self-relative.</summary>
    /// <exception cref="GuestFaultException">A part of it is not readable.</exception>
    internal static byte[] Capture(PVOID descriptor)
    {
        ulong address = descriptor.Address;
        ushort control = GuestMemory.Ref<ushort>(address + 2);
        bool isRelative = (control & SelfRelative) != 0;
        var parts = new byte[]?[PartCount];
        for (int i = 0; i < PartCount; i++)
        {
            bool isAcl = i >= 2;
            if (isAcl && (control & (i == 2 ? SaclPresent : DaclPresent)) == 0) continue;
            // Self-relative: 32-bit offsets from offset 4 on; absolute: pointers from offset 8 on.
            ulong part = isRelative ? GuestMemory.Ref<uint>(address + 4 + 4 * (ulong)i) : GuestMemory.Ref<ulong>(address + 8 + 8 * (ulong)i);
            if (part == 0) continue;
            if (isRelative) part += address;
            int length = isAcl ? GuestMemory.Ref<ushort>(part + 2) : 8 + 4 * GuestMemory.Ref<byte>(part + 1);
            parts[i] = GuestMemory.Read(part, length).ToArray();
        }
        return Make(control, parts);
    }
}
