using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What may be done with a page of guest memory.</summary>
[Flags]
public enum PageAccess : byte
{
    None = 0,
    Read = 1,
    Write = 2,
    Execute = 4,
    /// <summary>Pageable: touching it at DISPATCH_LEVEL or above is a driver error.</summary>
    Pageable = 8,
    /// <summary>Writable, but its <see cref="ICodeWatcher"/> must be told first: code was read from it.</summary>
    Watched = 16,
    ReadWrite = Read | Write,
}

/// <summary>Who has read code of a slice, and must know when it changes.</summary>
public interface ICodeWatcher
{
    /// <summary>A part of a page that is <see cref="PageAccess.Watched"/> is about to be written.</summary>
    /// <param name="offset">Of the first byte in its slice.</param>
    /// <param name="length">Bytes, none of them beyond the page.</param>
    void Written(ulong offset, ulong length);

    /// <summary>What may be done with pages has been set.</summary>
    /// <param name="address">Of the first of them, in any window.</param>
    void AccessSet(ulong address, ulong size, PageAccess access);
}

/// <summary>Where addresses of a slice lead that have no memory of their own.</summary>
public interface IAddressAliases
{
    /// <summary>Another address of the slice, where the memory is; false for one that leads nowhere.</summary>
    /// <param name="length">Bytes from there on that follow each other in both places.</param>
    bool TryResolve(ulong address, out ulong target, out ulong length);
}

/// <summary>
/// The one host reservation behind every machine's memory, and the only translation from guest to host addresses.
/// </summary>
/// <remarks>
/// Each machine owns one slice of 4 GiB, seen through three windows that have the low 40 address bits in common:
/// <code>
/// FFFFA000`00000000 + slice * 4 GiB + offset   kernel window
/// FFFFA100`00000000 + slice * 4 GiB + offset   system mappings: what an MDL is mapped to; aliases the same bytes
/// FFFFA200`00000000 + slice * 4 GiB + ...      device registers: what MmMapIoSpace returns; no memory, every access is a fault here
/// 00000100`00000000 + slice * 4 GiB + offset   user window: request buffers; aliases the same bytes
/// </code>
/// A page has its own <see cref="PageAccess"/> in each window, so a mapping can be withdrawn while the memory stays.
/// Any other address, and any page without access, is a fault: never a host fault. Before a kernel address is one,
/// <see cref="IAddressAliases"/> is asked.
/// </remarks>
public static unsafe class GuestMemory
{
    public const ulong KernelBase = 0xFFFFA000_00000000;
    public const ulong SystemMappingBase = 0xFFFFA100_00000000;
    public const ulong IoSpaceBase = 0xFFFFA200_00000000;
    public const ulong UserBase = 0x00000100_00000000;
    public const ulong SliceSize = 1UL << 32;
    public const int SliceCount = 256;
    public const int PageShift = 12;
    public const ulong PageSize = 1UL << PageShift;

    /// <summary>Size of one window over all slices, bytes.</summary>
    public const ulong WindowSize = SliceSize * SliceCount;

    /// <summary>Kernel and system-mapping windows are adjacent, so one subtract-and-compare covers both.</summary>
    public const ulong KernelSpan = 2 * WindowSize;

    /// <summary>Selects the offset into the host reservation from an offset into the kernel span.</summary>
    public const ulong HostMask = WindowSize - 1;

    /// <summary>Host address of the first byte of slice 0.</summary>
    public static readonly byte* HostBase = HostReservation.Reserve(WindowSize);

    /// <summary>One <see cref="PageAccess"/> per page of the kernel span, by (address - KernelBase) >> 12.</summary>
    public static readonly byte* KernelPages = HostReservation.ReserveZeroed((KernelSpan >> PageShift) + 1);

    /// <summary>One <see cref="PageAccess"/> per page of the user window, by (address - UserBase) >> 12.</summary>
    public static readonly byte* UserPages = HostReservation.ReserveZeroed((WindowSize >> PageShift) + 1);

    static readonly ICodeWatcher?[] CodeWatchers = new ICodeWatcher?[SliceCount];
    static readonly IAddressAliases?[] Aliases = new IAddressAliases?[SliceCount];

    // Addresses of the kernel window have these upper bits, and differ from host addresses by a constant: for them, and for
    // aligned values that lie in one page, a reference costs two comparisons and one lookup. Everything else takes Translate.
    const int WindowBits = 40;
    const ulong KernelPrefix = KernelBase >> WindowBits;
    /// <summary><see cref="KernelPages"/> by address >> 12, of which nothing is cut off.</summary>
    public static readonly byte* KernelPageZero = KernelPages - (KernelBase >> PageShift);
    static readonly byte* KernelZero = HostBase - KernelBase;

    /// <summary>A reference to the <typeparamref name="T"/> at a guest address; the memory must be readable.</summary>
    /// <exception cref="GuestFaultException">The address is in no window, or its page has no read access.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref T Ref<T>(ulong address) where T : unmanaged
    {
        if (sizeof(T) is 1 or 2 or 4 or 8)
        {
            // Rotating puts the bits that an aligned address has clear above the prefix.
            int alignment = BitOperations.Log2((uint)sizeof(T));
            if (BitOperations.RotateRight(address, alignment) >> (WindowBits - alignment) == KernelPrefix
                && (KernelPageZero[address >> PageShift] & (byte)PageAccess.Read) != 0)
                return ref Unsafe.AsRef<T>(KernelZero + address);
        }
        else if (address >> WindowBits == KernelPrefix)
        {
            ulong last = address + (uint)sizeof(T) - 1;
            if ((KernelPageZero[address >> PageShift] & KernelPageZero[last >> PageShift] & (byte)PageAccess.Read) != 0)
                return ref Unsafe.AsRef<T>(KernelZero + address);
        }
        return ref Unsafe.AsRef<T>(Translate(address, (uint)sizeof(T), PageAccess.Read));
    }

    /// <summary>Host memory of a guest range, every page of which must allow <paramref name="access"/>.</summary>
    /// <exception cref="GuestFaultException">With the first address that does not, in the kernel half.</exception>
    /// <exception cref="NtStatusException">STATUS_ACCESS_VIOLATION, the same in the user half.</exception>
    public static byte* Translate(ulong address, ulong length, PageAccess access)
    {
        if (TryTranslate(address, length, access, out byte* host, out ulong faultAddress)) return host;
        throw Fault(faultAddress, access);
    }

    /// <summary>Where the kernel half of the address space begins.</summary>
    public const ulong KernelHalf = 0xFFFF8000_00000000;

    /// <summary>
    /// What a failed access raises. Drivers may handle one to the user half, which on Windows is STATUS_ACCESS_VIOLATION; so is, without
    /// its address, one to an address that is none (bits 47 to 63 differ). An access to the kernel half ends the system.
    /// </summary>
    public static Exception Fault(ulong address, PageAccess access)
    {
        if (address >= KernelHalf) return new GuestFaultException(address, access);
        string done = access.HasFlag(PageAccess.Write) ? "written" : access == PageAccess.Execute ? "executed" : "read";
        string place = $"{PVOID.Format(address)} was {done}";
        if (address >= UserHalfEnd)
            return new NtStatusException(NTSTATUS.STATUS_ACCESS_VIOLATION, $"{place}, which is neither a user nor a kernel address.", 0, ulong.MaxValue);
        return new NtStatusException(NTSTATUS.STATUS_ACCESS_VIOLATION,
            address < 0x10000 ? $"A NULL pointer was dereferenced: {place}."
            : IsAccessible(address, 1, PageAccess.Read) ? $"{place}, but that memory is {(access == PageAccess.Execute ? "data" : "read-only")}."
            : $"{place}, which is not a kernel address of this machine.",
            access.HasFlag(PageAccess.Write) ? 1UL : access == PageAccess.Execute ? 8UL : 0, address);
    }

    const ulong UserHalfEnd = 0x8000_00000000;

    /// <summary>As <see cref="Translate"/>, without throwing; <paramref name="faultAddress"/> is the first bad byte.</summary>
    public static bool TryTranslate(ulong address, ulong length, PageAccess access, out byte* host, out ulong faultAddress)
    {
        host = null;
        byte* pages;
        ulong offset = address - KernelBase;
        ulong span = KernelSpan;
        if (offset < KernelSpan)
        {
            pages = KernelPages;
        }
        else
        {
            offset = address - UserBase;
            span = WindowSize;
            pages = UserPages;
            if (offset >= WindowSize)
            {
                faultAddress = address;
                return false;
            }
        }
        ulong last = offset + (length == 0 ? 0 : length - 1);
        ulong page = offset >> PageShift;
        for (; page <= Math.Min(last, span - 1) >> PageShift; page++)
        {
            if (((PageAccess)pages[page] & access) != access && !IsWatchedWrite(pages, Math.Max(offset, page << PageShift), last, access))
            {
                faultAddress = Math.Max(address, address - offset + (page << PageShift));
                return span == KernelSpan && TryTranslateAlias(address, length, access, out host, ref faultAddress);
            }
        }
        if (last >= span || last < offset)
        {
            faultAddress = address - offset + span;
            return false;
        }
        faultAddress = 0;
        host = HostBase + (offset & HostMask);
        return true;
    }

    static bool TryTranslateAlias(ulong address, ulong length, PageAccess access, out byte* host, ref ulong faultAddress)
    {
        host = null;
        if (Aliases[SliceOf(address)] is not { } aliases || !aliases.TryResolve(address, out ulong target, out ulong available)) return false;
        if (!TryTranslate(target, Math.Min(length, available), access, out byte* found, out ulong fault)) faultAddress = address + (fault - target);
        else if (length > available) faultAddress = address + available;
        else host = found;
        return host != null;
    }

    /// <summary>Whether all that keeps a page from being written is that it is watched; the watcher knows then.</summary>
    /// <param name="first">Offset of the first byte in the window; the others up to <paramref name="last"/> may lie in further pages.</param>
    static bool IsWatchedWrite(byte* pages, ulong first, ulong last, PageAccess access)
    {
        var allowed = (PageAccess)pages[first >> PageShift];
        if ((access & ~allowed) != PageAccess.Write || !allowed.HasFlag(PageAccess.Watched)) return false;
        ulong length = Math.Min(last, first | (PageSize - 1)) - first + 1, offset = first & HostMask;
        CodeWatchers[offset / SliceSize]?.Written(offset & (SliceSize - 1), length);
        return true;
    }

    /// <summary>Who reads code of a slice; null for nobody.</summary>
    public static void SetCodeWatcher(int slice, ICodeWatcher? watcher) => CodeWatchers[slice] = watcher;

    /// <summary>Who knows where kernel addresses of a slice lead that have no memory of their own; null for nobody.</summary>
    public static void SetAliases(int slice, IAddressAliases? aliases) => Aliases[slice] = aliases;

    public static ICodeWatcher? CodeWatcherOf(int slice) => CodeWatchers[slice];

    /// <summary>Whether every byte of a guest range allows <paramref name="access"/>.</summary>
    public static bool IsAccessible(ulong address, ulong length, PageAccess access)
    {
        ulong last = address + length - 1;
        if (address >> WindowBits == KernelPrefix && length - 1 < PageSize
            && (KernelPageZero[address >> PageShift] & KernelPageZero[last >> PageShift] & (byte)access) == (byte)access) return true;
        return TryTranslate(address, length, access, out _, out _);
    }

    /// <summary>The bytes of a guest range, to read.</summary>
    public static ReadOnlySpan<byte> Read(ulong address, int length) => new(Translate(address, (uint)length, PageAccess.Read), length);

    /// <summary>The bytes of a guest range, to write.</summary>
    public static Span<byte> Write(ulong address, int length) => new(Translate(address, (uint)length, PageAccess.ReadWrite), length);

    /// <summary>The offset in its slice of what <see cref="Translate"/> found.</summary>
    public static ulong OffsetOf(byte* host) => (ulong)(host - HostBase) & (SliceSize - 1);

    /// <summary>The kernel-window address of something in guest memory.</summary>
    /// <exception cref="ArgumentException">It lies in the program's own memory, such as a C# variable.</exception>
    public static ulong AddressOf<T>(ref T target) where T : unmanaged
    {
        ulong offset = (ulong)((byte*)Unsafe.AsPointer(ref target) - HostBase);
        if (offset >= WindowSize)
            throw new ArgumentException($"This {typeof(T).Name} is a C# variable: it has no address in guest memory.", nameof(target));
        return KernelBase + offset;
    }

    /// <summary>Which slice an address belongs to, through any window; -1 for none.</summary>
    public static int SliceOf(ulong address)
    {
        if (address - KernelBase < KernelSpan) return (int)(((address - KernelBase) & HostMask) / SliceSize);
        if (address - UserBase < WindowSize) return (int)((address - UserBase) / SliceSize);
        return -1;
    }
}

/// <summary>An address of the kernel half was dereferenced that is not mapped, or not for that access. No driver can handle that.</summary>
public sealed class GuestFaultException(ulong address, PageAccess access)
    : Exception($"{(access.HasFlag(PageAccess.Write) ? "write to" : access == PageAccess.Execute ? "execution of" : "read of")} {FormatAddress(address)}, which is not mapped for it")
{
    /// <summary>The first address that could not be accessed.</summary>
    public ulong Address { get; } = address;

    public PageAccess Access { get; } = access;

    static string FormatAddress(ulong address) => $"{address >> 32:x8}`{(uint)address:x8}";
}

/// <summary>Address space taken from the host, committed piece by piece.</summary>
static unsafe partial class HostReservation
{
    const int ProtNone = 0, ProtReadWrite = 3, MapPrivate = 2, MadvDontNeed = 4;
    static int MapAnonymous => OperatingSystem.IsMacOS() ? 0x1000 : 0x20;
    static int MapNoReserve => OperatingSystem.IsMacOS() ? 0x40 : 0x4000;
    const uint MemReserve = 0x2000, MemCommit = 0x1000, MemDecommit = 0x4000, PageNoAccess = 1, PageReadWrite = 4;

    internal static byte* Reserve(ulong size)
    {
        nint address = OperatingSystem.IsWindows()
            ? VirtualAlloc(0, (nuint)size, MemReserve, PageNoAccess)
            : Mmap(0, (nuint)size, ProtNone, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        if (address is 0 or -1)
            throw new InsufficientMemoryException($"The host refused to reserve {size >> 30} GiB of address space (none of it in use yet). Is the address space of this process limited (ulimit -v)?");
        return (byte*)address;
    }

    /// <summary>A range that reads as zero everywhere and costs nothing until written.</summary>
    internal static byte* ReserveZeroed(ulong size)
    {
        byte* address = Reserve(size);
        Commit(address, size);
        return address;
    }

    /// <summary>Makes a reserved range readable and writable; its pages are zero and cost nothing until touched.</summary>
    internal static void Commit(byte* address, ulong size)
    {
        bool done = OperatingSystem.IsWindows()
            ? VirtualAlloc((nint)address, (nuint)size, MemCommit, PageReadWrite) != 0
            : Mprotect((nint)address, (nuint)size, ProtReadWrite) == 0;
        if (!done) throw new InsufficientMemoryException($"The host refused to commit {size >> 10} KiB of memory.");
    }

    /// <summary>Gives the pages of a committed range back; a later commit finds them zero.</summary>
    internal static void Decommit(byte* address, ulong size)
    {
        if (OperatingSystem.IsWindows())
            VirtualFree((nint)address, (nuint)size, MemDecommit);
        else if (OperatingSystem.IsMacOS())
            Mmap((nint)address, (nuint)size, ProtNone, MapPrivate | MapAnonymous | MapNoReserve | 0x10, -1, 0);
        else
        {
            Madvise((nint)address, (nuint)size, MadvDontNeed);
            Mprotect((nint)address, (nuint)size, ProtNone);
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    private static partial int Madvise(nint address, nuint length, int advice);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial nint VirtualAlloc(nint address, nuint size, uint allocationType, uint protection);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial int VirtualFree(nint address, nuint size, uint freeType);
}
