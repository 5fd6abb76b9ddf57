using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What there is to know about a byte of guest memory beyond its page's access. Nothing for memory in good order.</summary>
[Flags]
public enum ByteState : byte
{
    None = 0,
    /// <summary>Nobody has written it since it was allocated.</summary>
    Uninitialized = 1,
    /// <summary>Between pool blocks: part of none.</summary>
    Outside = 2,
    /// <summary>Of a pool block that was freed.</summary>
    Freed = 4,
    /// <summary>Its page may be pageable; <see cref="PageAccess.Pageable"/> says whether it is now.</summary>
    Pageable = 8,
    /// <summary>Of an IRP that some driver has had and does not have now.</summary>
    Lent = 16,
    /// <summary>Of an IRP's CancelRoutine, which is exchanged and never stored.</summary>
    Exchanged = 32,
}

/// <summary>One <see cref="ByteState"/> for each byte of a machine's slice.</summary>
/// <remarks>
/// Exists only if <see cref="MachineOptions.ChecksMemory"/>. The pool marks its blocks, the processor of compiled drivers reads before each
/// access. Costs host memory where something was marked. All windows show the same bytes, so an address counts by its low 32 bits.
/// </remarks>
public sealed unsafe class MemoryShadow : IDisposable
{
    /// <summary>What fresh memory holds that counts as <see cref="ByteState.Uninitialized"/>: a byte with another value was written.</summary>
    public const byte FreshFill = 0xCD;

    const ulong EveryByte = 0x0101_0101_0101_0101;

    static readonly Lock Gate = new();
    static byte* reserved;

    readonly byte* bytes;
    readonly Lock gate = new();
    readonly Dictionary<ulong, int> locks = [];
    bool disposed;

    /// <param name="slice">Of <see cref="GuestMemory.SliceOf"/>; has no other shadow.</param>
    public MemoryShadow(int slice)
    {
        lock (Gate)
        {
            // An access may reach beyond the last byte of the last slice.
            if (reserved == null) reserved = HostReservation.Reserve(GuestMemory.WindowSize + GuestMemory.PageSize);
        }
        bytes = reserved + (ulong)slice * GuestMemory.SliceSize;
        HostReservation.Commit(bytes, GuestMemory.SliceSize + GuestMemory.PageSize);
    }

    /// <summary>State of the byte at offset 0.</summary>
    public byte* Bytes => bytes;

    public ByteState this[ulong address] => (ByteState)bytes[(uint)address];

    /// <summary>Sets the state of a range.</summary>
    public void Set(ulong address, ulong length, ByteState state) => Range(address, length).Fill((byte)state);

    public void Add(ulong address, ulong length, ByteState state)
    {
        Span<byte> range = Range(address, length);
        foreach (ref ulong word in MemoryMarshal.Cast<byte, ulong>(range)) word |= (byte)state * EveryByte;
        foreach (ref byte b in range[(range.Length & ~7)..]) b |= (byte)state;
    }

    public void Remove(ulong address, ulong length, ByteState state)
    {
        Span<byte> range = Range(address, length);
        foreach (ref ulong word in MemoryMarshal.Cast<byte, ulong>(range)) word &= (byte)~state * EveryByte;
        foreach (ref byte b in range[(range.Length & ~7)..]) b &= (byte)~state;
    }

    /// <summary>What all bytes of a range have between them.</summary>
    public ByteState Of(ulong address, ulong length)
    {
        ReadOnlySpan<byte> range = Range(address, length);
        if (!range.ContainsAnyExcept((byte)0)) return ByteState.None;
        byte all = 0;
        foreach (byte b in range) all |= b;
        return (ByteState)all;
    }

    /// <summary>Bytes were copied: those that nobody had written are not written in the copy either.</summary>
    public void Copied(ulong from, ulong to, ulong length)
    {
        byte* source = bytes + (uint)from, target = bytes + (uint)to;
        bool backwards = target > source && target < source + length;
        for (ulong n = 0; n < length; n++)
        {
            ulong i = backwards ? length - 1 - n : n;
            target[i] = (byte)(target[i] & ~(byte)ByteState.Uninitialized | source[i] & (byte)ByteState.Uninitialized);
        }
    }

    /// <summary>The pages of a range are in memory until <see cref="Unlock"/>.</summary>
    public void Lock(ulong address, ulong length) => ChangeLocks(address, length, 1);

    public void Unlock(ulong address, ulong length) => ChangeLocks(address, length, -1);

    public bool IsLocked(ulong address)
    {
        lock (gate) return locks.ContainsKey(PageOf(address));
    }

    static ulong PageOf(ulong address) => (address & (GuestMemory.SliceSize - 1)) >> GuestMemory.PageShift;

    void ChangeLocks(ulong address, ulong length, int change)
    {
        if (length == 0) return;
        lock (gate)
        {
            for (ulong page = PageOf(address); page <= PageOf(address + length - 1); page++)
            {
                int count = locks.GetValueOrDefault(page) + change;
                if (count > 0) locks[page] = count;
                else locks.Remove(page);
            }
        }
    }

    Span<byte> Range(ulong address, ulong length)
    {
        ulong offset = address & (GuestMemory.SliceSize - 1);
        return new Span<byte>(bytes + offset, checked((int)Math.Min(length, GuestMemory.SliceSize - offset)));
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        HostReservation.Decommit(bytes, GuestMemory.SliceSize);
    }
}
