using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Copying, filling and comparing memory. The whole range is checked first; a fault names its first bad byte. Any IRQL when resident.
/// </summary>
/// <remarks>Of what MmMapIoSpace mapped, they read and write 8 bytes at once, and the rest byte by byte.</remarks>
public sealed unsafe class MemoryRoutines
{
    readonly Machine machine;

    internal MemoryRoutines(Machine machine) => this.machine = machine;

    /// <summary>Copies bytes and returns the destination; ranges that overlap come out right, too.</summary>
    [KernelExport]
    public PVOID memcpy(PVOID Destination, PVOID Source, ulong Length) => Copy(Destination, Source, Length);

    /// <inheritdoc cref="memcpy"/>
    [KernelExport]
    public PVOID memmove(PVOID Destination, PVOID Source, ulong Length) => Copy(Destination, Source, Length);

    /// <summary>Sets bytes and returns the destination.</summary>
    [KernelExport]
    public PVOID memset(PVOID Destination, int Fill, ulong Length)
    {
        if (IsDevice(Destination)) ForParts(Length, (offset, size) => Store(Destination.Address + offset, size, (byte)Fill * 0x0101_0101_0101_0101ul));
        else if (Length != 0) Set(GuestMemory.Translate(Destination.Address, Length, PageAccess.ReadWrite), Length, (byte)Fill);
        return Destination;
    }

    /// <summary>Compares bytes: negative, 0 or positive as the first range is less, equal or greater.</summary>
    [KernelExport]
    public int memcmp(PVOID Buffer1, PVOID Buffer2, ulong Length)
    {
        ulong equal = RtlCompareMemory(Buffer1, Buffer2, Length);
        return equal == Length ? 0 : (byte)Load(Buffer1.Address + equal, 1) - (byte)Load(Buffer2.Address + equal, 1);
    }

    /// <summary>The address of the first byte of that value, or NULL.</summary>
    [KernelExport]
    public PVOID memchr(PVOID Buffer, int Character, ulong Length)
    {
        // Only bytes up to the one that is found need to be readable.
        for (ulong offset = 0; offset < Length;)
        {
            ulong next = Buffer.Address + offset;
            ulong inPage = Math.Min(GuestMemory.PageSize - (next & (GuestMemory.PageSize - 1)), Length - offset);
            int index = new ReadOnlySpan<byte>(GuestMemory.Translate(next, inPage, PageAccess.Read), (int)inPage).IndexOf((byte)Character);
            if (index >= 0) return new PVOID(next + (ulong)index);
            offset += inPage;
        }
        return default;
    }

    /// <summary>How many bytes are equal before the first that differs.</summary>
    [KernelExport]
    public ulong RtlCompareMemory(PVOID Source1, PVOID Source2, ulong Length)
    {
        if (Length == 0) return 0;
        if (IsDevice(Source1) || IsDevice(Source2)) return CompareDevice(Source1.Address, Source2.Address, Length);
        byte* first = GuestMemory.Translate(Source1.Address, Length, PageAccess.Read);
        byte* second = GuestMemory.Translate(Source2.Address, Length, PageAccess.Read);
        ulong count = 0;
        while (count < Length)
        {
            int part = (int)Math.Min(Length - count, int.MaxValue);
            int equal = new ReadOnlySpan<byte>(first + count, part).CommonPrefixLength(new ReadOnlySpan<byte>(second + count, part));
            count += (ulong)equal;
            if (equal < part) break;
        }
        return count;
    }

    [KernelExport]
    public void RtlZeroMemory(PVOID Destination, ulong Length) => memset(Destination, 0, Length);

    [KernelExport]
    public void RtlFillMemory(PVOID Destination, ulong Length, byte Fill) => memset(Destination, Fill, Length);

    [KernelExport]
    public void RtlCopyMemory(PVOID Destination, PVOID Source, ulong Length) => Copy(Destination, Source, Length);

    [KernelExport]
    public void RtlMoveMemory(PVOID Destination, PVOID Source, ulong Length) => Copy(Destination, Source, Length);

    [KernelExport]
    public void RtlCopyMemoryNonTemporal(PVOID Destination, PVOID Source, ulong Length) => Copy(Destination, Source, Length);

    /// <summary>RtlZeroMemory that compilers do not leave out.</summary>
    [WdkInline]
    public PVOID RtlSecureZeroMemory(PVOID Destination, ulong Length) => memset(Destination, 0, Length);

    /// <summary>Whether two ranges are equal.</summary>
    [WdkInline]
    public bool RtlEqualMemory(PVOID Source1, PVOID Source2, ulong Length) => RtlCompareMemory(Source1, Source2, Length) == Length;

    PVOID Copy(PVOID destination, PVOID source, ulong length)
    {
        if (IsDevice(source) || IsDevice(destination))
        {
            ForParts(length, (offset, size) => Store(destination.Address + offset, size, Load(source.Address + offset, size)));
        }
        else if (length != 0)
        {
            byte* from = GuestMemory.Translate(source.Address, length, PageAccess.Read);
            byte* to = GuestMemory.Translate(destination.Address, length, PageAccess.ReadWrite);
            Buffer.MemoryCopy(from, to, length, length);
        }
        return destination;
    }

    static bool IsDevice(PVOID address) => address.Address - GuestMemory.IoSpaceBase < GuestMemory.WindowSize;

    static void ForParts(ulong length, Action<ulong, int> act)
    {
        int size;
        for (ulong offset = 0; offset < length; offset += (ulong)size) act(offset, size = length - offset >= sizeof(ulong) ? sizeof(ulong) : 1);
    }

    ulong CompareDevice(ulong first, ulong second, ulong length)
    {
        for (ulong i = 0; i < length; i++)
        {
            if (Load(first + i, 1) != Load(second + i, 1)) return i;
        }
        return length;
    }

    ulong Load(ulong address, int size)
    {
        if (!IsDevice(new PVOID(address))) return size == 1 ? GuestMemory.Ref<byte>(address) : GuestMemory.Ref<ulong>(address);
        return machine.Hardware.TryRead(address, size, out ulong value) ? value : throw GuestMemory.Fault(address, PageAccess.Read);
    }

    void Store(ulong address, int size, ulong value)
    {
        if (IsDevice(new PVOID(address)))
        {
            if (!machine.Hardware.TryWrite(address, size, value)) throw GuestMemory.Fault(address, PageAccess.Write);
        }
        else if (size == 1)
        {
            GuestMemory.Ref<byte>(address) = (byte)value;
        }
        else
        {
            GuestMemory.Ref<ulong>(address) = value;
        }
    }

    static void Set(byte* host, ulong length, byte value)
    {
        for (; length > int.MaxValue; host += int.MaxValue, length -= int.MaxValue) new Span<byte>(host, int.MaxValue).Fill(value);
        new Span<byte>(host, (int)length).Fill(value);
    }
}
