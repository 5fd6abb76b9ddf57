namespace Irpwright.Verification.Rules;

/// <summary>A requestor's data must never be executable in the kernel.</summary>
sealed class IwExecutableMapping : Rule, IWatch<MdlMapped>
{
    public static RuleInfo Definition { get; } = new(nameof(IwExecutableMapping), RuleFamily.Mdl, Advice,
        Pages.Detected, Codes.Detected(0x2002),
        "A driver maps the pages of an MDL without MdlMappingNoExecute.",
        static () => new IwExecutableMapping())
    {
        Covers = ["DV-C4-0x2002"],
        Instead = "Add MdlMappingNoExecute to the page priority.",
        Wrong = "address = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);",
        Right = "address = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority | MdlMappingNoExecute);",
    };

    public void On(in MdlMapped e)
    {
        if (e.Mode != MODE.KernelMode || (e.Priority & MM_PAGE_PRIORITY.MdlMappingNoExecute) != 0) return;
        Report(Tracker.Caller, Tracker.Thread.Frame?.Irp ?? default,
            $"{Tracker.Caller} mapped the pages of an MDL so that they can be executed; MdlMappingNoExecute prevents that.");
    }
}
