namespace Irpwright.Verification.Rules;

/// <summary>Drivers only fill in what they know (PNP-06).</summary>
sealed class IwCapabilitiesNotInitialized : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCapabilitiesNotInitialized), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x233),
        "A driver sends IRP_MN_QUERY_CAPABILITIES with a DEVICE_CAPABILITIES whose Version is not 1, whose Size is wrong, or whose Address or UINumber is not -1.",
        static () => new IwCapabilitiesNotInitialized())
    {
        Covers = ["DV-C9-0x233", "DV-C9-0x234", "DV-C9-0x235", "DV-C9-0x236"],
        Instead = "Clear the structure, and set Size, Version 1, and Address and UINumber to -1.",
        Wrong = """
            RtlZeroMemory(&caps, sizeof(caps));
            next->Parameters.DeviceCapabilities.Capabilities = &caps;
            """,
        Right = """
            RtlZeroMemory(&caps, sizeof(caps));
            caps.Size = sizeof(caps);
            caps.Version = 1;
            caps.Address = caps.UINumber = MAXULONG;
            next->Parameters.DeviceCapabilities.Capabilities = &caps;
            """,
    };

    public Situation When => Situation.Management | Situation.Originator;

    public void On(in IrpForwarded e)
    {
        Visit receiver = Tracker.Visit;
        if (Tracker.Owner is not null || Tracker.Irp.Forwards > 1 || !receiver.Is(IRP_MJ_PNP, IRP_MN_QUERY_CAPABILITIES)) return;
        ulong address = receiver.Parameters.DeviceCapabilities.Capabilities.Address;
        if (!GuestMemory.IsAccessible(address, DEVICE_CAPABILITIES.SizeOf, PageAccess.Read)) return;
        DEVICE_CAPABILITIES capabilities = new PDEVICE_CAPABILITIES(address).Value;
        string? wrong = capabilities switch
        {
            { Version: not 1 } => $"Version {capabilities.Version}, not 1",
            { Size: < DEVICE_CAPABILITIES.SizeOf } => $"Size {capabilities.Size}, not {DEVICE_CAPABILITIES.SizeOf}",
            { Address: not uint.MaxValue } => $"Address 0x{capabilities.Address:X}, not -1",
            { UINumber: not uint.MaxValue } => $"UINumber 0x{capabilities.UINumber:X}, not -1",
            _ => null,
        };
        if (wrong is null) return;
        Report(Tracker.Caller, Tracker.Irp.Name, $"{Tracker.Caller} sent {Tracker.Irp}, IRP_MN_QUERY_CAPABILITIES, with {wrong}.");
    }
}
