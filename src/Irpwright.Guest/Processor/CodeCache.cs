using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Remembers, for every instruction that was translated, where its operations begin, and forgets it when the code changes.</summary>
/// <remarks>
/// The map from address to operation is an array per code page, found through an array per slice: a return or an indirect call is two
/// loads. Both live in memory that costs nothing until touched. Operations are published complete, by one pointer store. A page that code
/// was read from is watched; once a byte of that code is written, every operation made of the page becomes one that looks its instruction
/// up again. So whoever is in the middle of a chain goes on with the new code, as the hardware does. (A thread that translates a page at the very moment that
/// another one changes it may keep the old code; on hardware, too, such threads have to agree on something first.) Operations are freed
/// with the machine.
/// </remarks>
sealed unsafe class CodeCache : ICodeWatcher, IDisposable
{
    const int PageEntries = (int)GuestMemory.PageSize;
    const int ArenaBytes = 256 << 10;

    /// <summary>Changes of a page after which what is made of it is kept short, as it will not last.</summary>
    const int OftenChanged = 8;

    // For every page of every slice; a slice's part is clean when nobody has it. Made anew for each machine, it would cost more than a short run.
    static readonly Op*** AllCodePages =
        (Op***)HostReservation.ReserveZeroed((GuestMemory.WindowSize >> GuestMemory.PageShift) * (ulong)sizeof(Op**));

    readonly Lock gate;
    readonly Handler stale;
    readonly Dictionary<ulong, CodePage> pages = [];
    readonly List<nint> allocations = [];
    readonly List<ulong> published = [];
    ulong firstPage = ulong.MaxValue, lastPage;
    Op* free, arenaEnd;

    /// <param name="gate">Held by whoever translates.</param>
    /// <param name="stale">What an operation does whose code has changed.</param>
    public CodeCache(ulong codeBase, Lock gate, Handler stale)
    {
        CodeBase = codeBase;
        this.gate = gate;
        this.stale = stale;
        int slice = GuestMemory.SliceOf(codeBase);
        const ulong pagesOfSlice = GuestMemory.SliceSize >> GuestMemory.PageShift;
        bool isAlone = GuestMemory.CodeWatcherOf(slice) is null;
        CodePages = isAlone ? AllCodePages + (ulong)slice * pagesOfSlice : (Op***)Allocate(pagesOfSlice * (ulong)sizeof(Op**));
        GuestMemory.SetCodeWatcher(slice, this);
    }

    /// <summary>A page that code was read from.</summary>
    sealed class CodePage
    {
        /// <summary>First operation and length of all chains that depend on it.</summary>
        public List<(nint First, int Count)> Chains { get; } = [];
        public int Changes { get; set; }
        /// <summary>A bit for each byte that was read as code; the others are data.</summary>
        public required ulong* Bytes { get; init; }

        public bool HasCodeIn(ulong first, ulong length)
        {
            for (ulong i = first; i < first + length; i++)
            {
                if ((Bytes[i / 64] >> (int)(i % 64) & 1) != 0) return true;
            }
            return false;
        }
    }

    public ulong CodeBase { get; }

    public Op*** CodePages { get; }

    /// <summary>The operation for an address, or null.</summary>
    public Op* Find(ulong rip)
    {
        ulong offset = rip - CodeBase;
        if (offset >= GuestMemory.SliceSize) return null;
        Op** page = CodePages[offset >> GuestMemory.PageShift];
        return page == null ? null : page[offset & (PageEntries - 1)];
    }

    /// <summary>The first operation found for an address stays the one.</summary>
    public void Publish(ulong rip, Op* op)
    {
        ulong offset = rip - CodeBase;
        ref nint page = ref ((nint*)CodePages)[offset >> GuestMemory.PageShift];
        if (page == 0)
        {
            published.Add(offset >> GuestMemory.PageShift);
            Volatile.Write(ref page, (nint)Allocate((ulong)(PageEntries * sizeof(Op*))));
        }
        ref nint entry = ref ((nint*)page)[offset & (PageEntries - 1)];
        if (entry == 0) Volatile.Write(ref entry, (nint)op);
    }

    /// <summary>Code is about to be read from a page: from now on its changes are noticed.</summary>
    /// <returns>A bit for each byte of the page, to be set for what is read.</returns>
    public ulong* Watch(ulong page)
    {
        if (!pages.TryGetValue(page, out CodePage? code))
        {
            code = new CodePage { Bytes = (ulong*)Allocate(GuestMemory.PageSize / 8) };
            pages.Add(page, code);
        }
        firstPage = Math.Min(firstPage, page);
        lastPage = Math.Max(lastPage, page);
        ForEachWindow(page, &SetWatched);
        return code.Bytes;

        static void SetWatched(byte* access)
        {
            if ((*access & (byte)PageAccess.Write) != 0) *access = (byte)(*access & ~(byte)PageAccess.Write | (byte)PageAccess.Watched);
        }
    }

    void ForEachWindow(ulong page, delegate*<byte*, void> change)
    {
        ulong first = (CodeBase - GuestMemory.KernelBase >> GuestMemory.PageShift) + page;
        change(GuestMemory.KernelPages + first);
        change(GuestMemory.KernelPages + first + (GuestMemory.WindowSize >> GuestMemory.PageShift));
        change(GuestMemory.UserPages + first);
    }

    /// <summary>A chain was made of the code of these pages.</summary>
    public void Add(Op* first, int count, IEnumerable<ulong> from)
    {
        foreach (ulong page in from) pages[page].Chains.Add(((nint)first, count));
    }

    public bool ChangesOften(ulong rip) =>
        pages.TryGetValue(rip - CodeBase >> GuestMemory.PageShift, out CodePage? page) && page.Changes > OftenChanged;

    /// <summary>Data between code may be written again and again; only a change of code is one.</summary>
    public void Written(ulong offset, ulong length)
    {
        lock (gate)
        {
            ulong page = offset >> GuestMemory.PageShift;
            if (!pages.TryGetValue(page, out CodePage? code) || !code.HasCodeIn(offset & (PageEntries - 1), length)) return;
            ForEachWindow(page, &Unwatch);
            Forget(page);
        }

        static void Unwatch(byte* access)
        {
            if ((*access & (byte)PageAccess.Watched) != 0) *access = (byte)(*access & ~(byte)PageAccess.Watched | (byte)PageAccess.Write);
        }
    }

    public void AccessSet(ulong address, ulong size, PageAccess access)
    {
        ulong first = (address & (GuestMemory.SliceSize - 1)) >> GuestMemory.PageShift, last = first + (size - 1 >> GuestMemory.PageShift);
        if (last < firstPage || first > lastPage) return;
        bool executable = access.HasFlag(PageAccess.Execute) || address - CodeBase >= GuestMemory.SliceSize;
        if (executable && !access.HasFlag(PageAccess.Write)) return;
        lock (gate)
        {
            for (ulong page = Math.Max(first, firstPage); page <= Math.Min(last, lastPage); page++)
            {
                if (!pages.TryGetValue(page, out CodePage? known)) continue;
                if (!executable) Forget(page);
                else if (known.Chains.Count > 0) Watch(page);
            }
        }
    }

    /// <summary>Forgets what was made of the pages of a range.</summary>
    public void Flush(ulong address, ulong length)
    {
        ulong first = address - CodeBase, last = first + length - 1;
        if (length == 0 || first >= GuestMemory.SliceSize) return;
        lock (gate)
        {
            ulong end = Math.Min(last, GuestMemory.SliceSize - 1) >> GuestMemory.PageShift;
            for (ulong page = Math.Max(first >> GuestMemory.PageShift, firstPage); page <= Math.Min(end, lastPage); page++) Forget(page);
        }
    }

    void Forget(ulong page)
    {
        if (!pages.TryGetValue(page, out CodePage? code) || code.Chains.Count == 0) return;
        foreach ((nint first, int count) in code.Chains)
        {
            Op* ops = (Op*)first;
            for (int i = 0; i < count; i++)
            {
                // The operation that leads on to the next chain has the address of that one, which may never have been met.
                Op** entries = CodePages[ops[i].Offset >> GuestMemory.PageShift];
                ref nint entry = ref *(nint*)(entries + (ops[i].Offset & (PageEntries - 1)));
                if (entries != null && entry >= first && entry < (nint)(ops + count)) Volatile.Write(ref entry, 0);
                Volatile.Write(ref *(nint*)&ops[i].Handler, (nint)stale);
            }
        }
        code.Chains.Clear();
        new Span<ulong>(code.Bytes, PageEntries / 64).Clear();
        code.Changes++;
    }

    public Op* NewOps(int count)
    {
        if (arenaEnd - free < count)
        {
            free = (Op*)Allocate(ArenaBytes);
            arenaEnd = free + ArenaBytes / sizeof(Op);
        }
        Op* ops = free;
        free += count;
        return ops;
    }

    void* Allocate(ulong size)
    {
        void* memory = NativeMemory.AllocZeroed((nuint)size);
        allocations.Add((nint)memory);
        return memory;
    }

    public void Dispose()
    {
        int slice = GuestMemory.SliceOf(CodeBase);
        if (GuestMemory.CodeWatcherOf(slice) == this) GuestMemory.SetCodeWatcher(slice, null);
        foreach (ulong page in published) CodePages[page] = null;
        published.Clear();
        foreach (nint allocation in allocations) NativeMemory.Free((void*)allocation);
        allocations.Clear();
    }
}
