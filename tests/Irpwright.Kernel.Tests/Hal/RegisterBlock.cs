using System.Buffers.Binary;

namespace Irpwright.Kernel.Tests.Hal;

/// <summary>A device whose registers are memory, and that notes every access.</summary>
sealed class RegisterBlock(int size) : IDeviceModel
{
    public byte[] Bytes { get; } = new byte[size];

    public List<string> Accesses { get; } = [];

    /// <summary>What a write does besides.</summary>
    public Action<ulong, ulong>? Written { get; set; }

    public ulong Read(ulong offset, int size)
    {
        ulong value = Get(offset, size);
        Accesses.Add($"read {offset:X} {size}");
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        Accesses.Add($"write {offset:X} {size} {value:X}");
        Set(offset, size, value);
        Written?.Invoke(offset, value);
    }

    public ulong Get(ulong offset, int size)
    {
        Span<byte> all = stackalloc byte[8];
        Bytes.AsSpan((int)offset, size).CopyTo(all);
        return BinaryPrimitives.ReadUInt64LittleEndian(all);
    }

    public void Set(ulong offset, int size, ulong value)
    {
        Span<byte> all = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(all, value);
        all[..size].CopyTo(Bytes.AsSpan((int)offset));
    }
}
