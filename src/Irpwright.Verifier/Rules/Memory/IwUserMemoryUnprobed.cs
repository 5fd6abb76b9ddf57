namespace Irpwright.Verification.Rules;

/// <summary>An address that a program gives may be one of the kernel: the driver would read, or overwrite, for it what it has no right to.</summary>
sealed class IwUserMemoryUnprobed : MemoryRule, IWatch<UserMemoryTouched>, IWatchCalls, IWatchReturns, IWatch<PagesLocked>, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwUserMemoryUnprobed), RuleFamily.Memory, Error,
        Pages.Ddi("nf-wdm-probeforread"), null,
        "A dispatch routine of a compiled driver touches user memory at an address that was neither probed nor locked since the request came.",
        static () => new IwUserMemoryUnprobed())
    {
        Instead = "Call ProbeForRead or ProbeForWrite, inside of __try, for every address that comes from a program and for the whole length; or let the I/O manager copy or lock the buffer.",
        Wrong = """
            __try {
                length = ((PREQUEST)input)->Length;
            } __except (EXCEPTION_EXECUTE_HANDLER) {
            """,
        Right = """
            __try {
                ProbeForRead(input, sizeof(REQUEST), 1);
                length = ((PREQUEST)input)->Length;
            } __except (EXCEPTION_EXECUTE_HANDLER) {
            """,
    };

    readonly record struct Range(ulong Start, ulong Length);

    // By thread, since it was last outside of drivers.
    readonly Dictionary<ThreadContext, List<Range>> probed = [];
    // What a driver got from the kernel to show to a program: no program chose its address.
    readonly List<Range> given = [];

    public IReadOnlyList<KernelExport> Calls { get; } =
    [
        KernelExports.ProbeForRead, KernelExports.ProbeForWrite, KernelExports.MmProbeAndLockSelectedPages, KernelExports.ZwMapViewOfSection,
        KernelExports.ZwAllocateVirtualMemory, KernelExports.MmMapLockedPages, KernelExports.MmMapLockedPagesSpecifyCache,
    ];

    public void Called(in DdiCalled e)
    {
        if (e.Export == KernelExports.MmProbeAndLockSelectedPages) AddSegments(new PMDL(e.Arguments[0]), e.Arguments[1]);
        else if (e.Export == KernelExports.ProbeForRead || e.Export == KernelExports.ProbeForWrite) Add(e.Arguments[0], e.Arguments[1]);
    }

    public void Returned(in DdiReturned e)
    {
        bool isView = e.Export == KernelExports.ZwMapViewOfSection;
        if (isView || e.Export == KernelExports.ZwAllocateVirtualMemory)
        {
            if ((int)e.Result >= 0) given.Add(new Range(ValueAt(e.Arguments[isView ? 2 : 1]), ValueAt(e.Arguments[isView ? 6 : 3])));
        }
        else if ((e.Export == KernelExports.MmMapLockedPages || e.Export == KernelExports.MmMapLockedPagesSpecifyCache) && e.Result is > 0 and < GuestMemory.KernelHalf)
        {
            given.Add(new Range(e.Result, new PMDL(e.Arguments[0]).ByteCount));
        }

        static ulong ValueAt(ulong pointer) => GuestMemory.Ref<ulong>(pointer);
    }

    void AddSegments(PMDL mdl, ulong segments)
    {
        for (uint done = 0; done < mdl.ByteCount; done += PAGE_SIZE, segments += FILE_SEGMENT_ELEMENT.SizeOf)
            Add(new PFILE_SEGMENT_ELEMENT(segments).Buffer.Address, PAGE_SIZE);
    }

    public void On(in PagesLocked e)
    {
        if (e.Address < GuestMemory.KernelHalf) Add(e.Address, e.Length);
    }

    Situation IWatch<IrpForwarded>.When => Situation.Originator;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Thread.Frame is null && probed.TryGetValue(Tracker.Thread, out List<Range>? ranges)) ranges.Clear();
    }

    public void On(in UserMemoryTouched e)
    {
        if (e.MayProbeInline || Tracker.Thread.Frame is not { Kind: RoutineKind.Dispatch or RoutineKind.FastIo } frame) return;
        if (IsIn(given, e.Address) || (probed.TryGetValue(Tracker.Thread, out List<Range>? ranges) && IsIn(ranges, e.Address))) return;
        Report(PlaceOf(e.Instruction), frame.Irp,
            $"{Code(e.Instruction)} {(e.IsWrite ? "wrote" : "read")} user memory at {Format.Address(e.Address)}, an address that was not probed: it could as well have been one of the kernel.");
    }

    static bool IsIn(List<Range> ranges, ulong address)
    {
        foreach (Range range in ranges)
        {
            if (address - range.Start < range.Length) return true;
        }
        return false;
    }

    void Add(ulong address, ulong length)
    {
        if (!probed.TryGetValue(Tracker.Thread, out List<Range>? ranges)) probed.Add(Tracker.Thread, ranges = []);
        ranges.Add(new Range(address, length));
    }
}
