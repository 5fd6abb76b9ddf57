namespace Irpwright.Verification.Rules;

/// <summary>The PnP manager knows devices by their PDOs.</summary>
sealed class IwRelationIsNoPdo : RelationsRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwRelationIsNoPdo), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x248),
        "A driver puts a device into a list of relations that is attached to another one, and so is no PDO.",
        static () => new IwRelationIsNoPdo())
    {
        Covers = ["DV-C9-0x248"],
        Instead = "List physical device objects, the ones that AddDevice gets.",
        Wrong = """
            relations->Objects[0] = functionDevice;
            """,
        Right = """
            relations->Objects[0] = physicalDevice;
            ObReferenceObject(physicalDevice);
            """,
    };

    protected override void Answered(Visit visit, PDEVICE_RELATIONS relations, bool completed)
    {
        if (relations.IsNull) return;
        for (uint i = 0; i < relations.Count; i++)
        {
            PDEVICE_OBJECT device = At(relations, i);
            if (device.DeviceObjectExtension.AttachedTo.IsNull) continue;
            Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} listed {Machine.Objects.NameOf(device)} in its answer to {visit.Irp}, which is attached to another device: it is no PDO.");
        }
    }
}
