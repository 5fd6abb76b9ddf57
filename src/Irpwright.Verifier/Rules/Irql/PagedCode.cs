namespace Irpwright.Verification.Rules;

/// <summary>Code in a section named PAGE* may be on disk; at DISPATCH_LEVEL nobody can fetch it.</summary>
/// <remarks>The PAGED_CODE macro is empty in a release build: what counts is where the code lies that calls the kernel, or is called by it.</remarks>
sealed class PagedCode : Rule, IWatch<DdiCalled>, IWatch<IrpForwarded>, IWatch<CompletionRoutineCalled>, IWatch<IrpCancelled>, IWatch<DpcStarted>
{
    public static RuleInfo Definition { get; } = new(nameof(PagedCode), RuleFamily.Irql, Error,
        Pages.Wdm(nameof(PagedCode)), null,
        "Code in a pageable section runs at DISPATCH_LEVEL or above.",
        static () => new PagedCode())
    {
        Covers = ["BC-0xD3", "CQ-KeSetEventPageable"],
        Instead = "Take the routine out of the PAGE section (#pragma alloc_text), or split off what raises the IRQL. Completion routines, "
            + "cancel routines, StartIo and DPCs are never pageable.",
        Wrong = """
            #pragma alloc_text(PAGE, ReadDone)
            NTSTATUS ReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) // a completion routine
            """,
        Right = """
            NTSTATUS ReadDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context) // in .text, which is not pageable
            """,
    };

    public Situation When => Situation.Raised;

    public void On(in DdiCalled e)
    {
        if (e.Irql >= DISPATCH_LEVEL) Check(e.Caller, Tracker.Caller, e.Irql);
    }

    public void On(in IrpForwarded e) => CheckRoutine(e.Routine.Address, Tracker.Visit.Place);

    public void On(in CompletionRoutineCalled e) => CheckRoutine(e.Routine.Address, Tracker.Thread.Frame!.Place);

    public void On(in IrpCancelled e) => CheckRoutine(e.Routine.Address, new CodePlace(Machine, default, e.Routine.Address, 0));

    public void On(in DpcStarted e) => CheckRoutine(e.Routine.Address, Tracker.Thread.Frame!.Place);

    void CheckRoutine(ulong routine, CodePlace place)
    {
        byte irql = Tracker.Thread.Thread.Irql;
        if (irql >= DISPATCH_LEVEL) Check(routine, place, irql);
    }

    void Check(ulong code, CodePlace place, byte irql)
    {
        if (IsPageable(code))
            Report(place, Tracker.Thread.Frame?.Irp ?? default, $"{place} runs at IRQL {irql}, but lies in pageable code at {Format.Address(code)}.");
    }

    /// <summary>Whether what lies at an address could be paged out.</summary>
    internal static bool IsPageable(ulong address) => GuestMemory.IsAccessible(address, 1, PageAccess.Pageable);
}
