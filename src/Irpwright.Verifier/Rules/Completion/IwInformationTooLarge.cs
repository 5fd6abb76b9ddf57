namespace Irpwright.Verification.Rules;

/// <summary>The I/O manager copies Information bytes, whatever the requestor asked for (COMPLETE-FINAL-11).</summary>
sealed class IwInformationTooLarge : Rule, IWatch<InformationTooLarge>
{
    public static RuleInfo Definition { get; } = new(nameof(IwInformationTooLarge), RuleFamily.Completion, Error,
        Pages.IoVerification, Codes.Io(0x312),
        "A buffered request is completed with more bytes in IoStatus.Information than the requestor has room for.",
        static () => new IwInformationTooLarge())
    {
        Covers = ["DV-C9-0x312"],
        Instead = "Set Information to what was put into the buffer, never more than the output length of the request.",
        Wrong = """
            Irp->IoStatus.Information = sizeof(extension->Record);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            Irp->IoStatus.Information = min(sizeof(extension->Record), location->Parameters.Read.Length);
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    public void On(in InformationTooLarge e)
    {
        CodePlace place = Tracker.Irp.Completer ?? Tracker.Caller;
        Report(place, Tracker.Irp.Name,
            $"{place} completed {Tracker.Irp} with {e.Information} bytes of Information, but the requestor's buffer takes "
                + $"{e.BufferLength}: the rest would overwrite its memory.");
    }
}
