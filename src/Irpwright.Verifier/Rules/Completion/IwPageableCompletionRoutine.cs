namespace Irpwright.Verification.Rules;

/// <summary>Completion routines may be called at DISPATCH_LEVEL (CMP-08).</summary>
sealed class IwPageableCompletionRoutine : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPageableCompletionRoutine), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x227),
        "An IRP is sent with a completion routine that lies in a pageable section of its image.",
        static () => new IwPageableCompletionRoutine())
    {
        Covers = ["DV-C9-0x227"],
        Instead = "Leave completion routines in a section that is not pageable.",
        Wrong = """
            #pragma alloc_text(PAGE, Done)
            IoSetCompletionRoutine(Irp, Done, NULL, TRUE, TRUE, TRUE);
            """,
        Right = """
            IoSetCompletionRoutine(Irp, Done, NULL, TRUE, TRUE, TRUE);    /* Done is in .text */
            """,
    };

    public Situation When => Situation.NewRoutine;

    public void On(in IrpForwarded e)
    {
        ulong routine = e.Irp.Tail.Overlay.CurrentStackLocation.CompletionRoutine.Address;
        if (CodePlace.Find(Machine, routine) is not { Managed: null } driver) return;
        string section = SectionAt(driver.Object.DriverStart.Address, routine);
        if (!section.StartsWith("PAGE", StringComparison.Ordinal)) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with the completion routine {new CodePlace(Machine, default, routine, 0)}, which lies in the "
                + $"pageable section {section}.");
    }

    // As the image's headers say.
    static string SectionAt(ulong image, ulong address)
    {
        const int fileHeaderSize = 24, sectionSize = 40;
        ulong header = image + GuestMemory.Ref<uint>(image + 0x3C);
        int count = GuestMemory.Ref<ushort>(header + 6);
        ulong table = header + fileHeaderSize + GuestMemory.Ref<ushort>(header + 20);
        for (int i = 0; i < count; i++)
        {
            ulong section = table + (ulong)(i * sectionSize);
            if (address - image - GuestMemory.Ref<uint>(section + 12) >= GuestMemory.Ref<uint>(section + 8)) continue;
            return System.Text.Encoding.ASCII.GetString(GuestMemory.Read(section, 8)).TrimEnd('\0');
        }
        return "";
    }
}
