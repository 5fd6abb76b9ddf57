namespace Irpwright.Verification.Rules;

/// <summary>An MDL is opaque: what it says of locked or mapped pages is what the kernel will unlock and unmap.</summary>
sealed class IwMdlWritten : Rule, IWatch<PagesLocked>, IWatch<PagesUnlocked>, IWatch<MdlMapped>, IWatch<MdlUnmapping>, IWatch<PoolFreed>
{
    public static RuleInfo Definition { get; } = new(nameof(IwMdlWritten), RuleFamily.Mdl, Error,
        Pages.Kernel("using-mdls"), new(BugCheckCode.SYSTEM_PTE_MISUSE, 5),
        "The description of a buffer in an MDL is changed while its pages are locked or mapped.",
        static () => new IwMdlWritten())
    {
        Covers = ["CA-28145", "BC-0xDA-0x04", "BC-0xDA-0x05"],
        Instead = "Make a partial MDL by IoBuildPartialMdl to describe a part of a buffer; MmInitializeMdl only after pages are unlocked.",
        Wrong = """
            MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
            mdl->ByteCount = 512;
            MmUnlockPages(mdl);
            """,
        Right = """
            MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
            IoBuildPartialMdl(mdl, part, MmGetMdlVirtualAddress(mdl), 512);
            MmUnlockPages(mdl);
            """,
    };

    readonly record struct Description(ulong StartVa, uint ByteOffset, uint ByteCount, ulong FirstFrame);

    // Of what is locked or mapped, as it was then.
    readonly Dictionary<ulong, Description> known = [];

    static Description Read(PMDL mdl) =>
        new(mdl.StartVa.Address, mdl.ByteOffset, mdl.ByteCount, GuestMemory.Ref<ulong>(mdl.Address + MDL.SizeOf));

    public void On(in PagesLocked e) => known[e.Mdl.Address] = Read(e.Mdl);

    public void On(in PagesUnlocked e)
    {
        Compare(e.Mdl, "unlocks");
        known.Remove(e.Mdl.Address);
    }

    public void On(in MdlMapped e)
    {
        Compare(e.Mdl, "maps");
        known[e.Mdl.Address] = Read(e.Mdl);
    }

    public void On(in MdlUnmapping e)
    {
        Compare(e.Mdl, "unmaps");
        // It may be built for another part now, or made anew by MmInitializeMdl, which is inline.
        if ((e.Mdl.MdlFlags & MDL_FLAGS.MDL_PAGES_LOCKED) == 0) known.Remove(e.Mdl.Address);
    }

    public void On(in PoolFreed e)
    {
        if (known.Count > 0) known.Remove(e.Address);
    }

    void Compare(PMDL mdl, string verb)
    {
        if (!known.TryGetValue(mdl.Address, out Description before)) return;
        Description now = Read(mdl);
        if (now == before) return;
        known[mdl.Address] = now;
        string what = now.ByteCount != before.ByteCount ? $"ByteCount was {before.ByteCount} and is {now.ByteCount}"
            : now.FirstFrame != before.FirstFrame ? $"the first page frame was 0x{before.FirstFrame:x} and is 0x{now.FirstFrame:x}"
            : $"the buffer began at {Format.Address(before.StartVa + before.ByteOffset)} and begins at {Format.Address(now.StartVa + now.ByteOffset)}";
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} {verb} the pages of the MDL at {Format.Address(mdl.Address)}, which somebody has written to meanwhile: {what}.");
    }
}
