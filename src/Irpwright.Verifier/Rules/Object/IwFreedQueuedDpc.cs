namespace Irpwright.Verification.Rules;

/// <summary>A DPC is in a processor's queue until its routine is called.</summary>
sealed class IwFreedQueuedDpc() : FreedMemoryRule(ActiveKind.Dpc)
{
    public static RuleInfo Definition { get; } = new(nameof(IwFreedQueuedDpc), RuleFamily.Object, Error,
        Pages.BugCheck("0xc7--timer-or-dpc-invalid"), new(BugCheckCode.TIMER_OR_DPC_INVALID, 1),
        "Memory is freed that contains a DPC object which is queued, or the routine of one.",
        static () => new IwFreedQueuedDpc())
    {
        Covers = ["BC-0xC7-0x1", "BC-0xC7-0x2"],
        Instead = "Call KeRemoveQueueDpc or KeFlushQueuedDpcs before the memory is freed.",
        Wrong = """
            KeInsertQueueDpc(&context->Dpc, NULL, NULL);
            ExFreePoolWithTag(context, 'gaT1');
            """,
        Right = """
            KeInsertQueueDpc(&context->Dpc, NULL, NULL);
            if (!KeRemoveQueueDpc(&context->Dpc)) KeFlushQueuedDpcs();
            ExFreePoolWithTag(context, 'gaT1');
            """,
    };

    protected override string What => "a DPC that is queued";

    protected override string Consequence => "The kernel will call whatever address is in that memory then.";

    // Removed from its queue on another processor at this moment.
    protected override bool IsActive(in ActiveObject found) => !new PKDPC(found.Address).DpcData.IsNull;

    public override void On(in PoolFreed e)
    {
        base.On(in e);
        foreach (ActiveObject active in Tracker.Active.All)
        {
            if (active.Kind != ActiveKind.Dpc || active.Routine < e.Address) continue;
            if (!Machine.Pool.TryFind(e.Address, out PoolBlock block) || active.Routine - e.Address >= block.Size) continue;
            Report(Tracker.Caller, default,
                $"{Tracker.Caller} freed the memory at {Format.Address(e.Address)}, tag {Pool.TagText(e.Tag)}, with the routine of the DPC at "
                    + $"{Format.Address(active.Address)} in it, which is queued.");
        }
    }
}
