namespace Irpwright.Verification.Rules;

/// <summary>A file object is for one open, from its IRP_MJ_CREATE to its IRP_MJ_CLOSE.</summary>
sealed class IwCreateWithClosedFile : Rule, IWatch<IrpForwarded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwCreateWithClosedFile), RuleFamily.Object, Error,
        Pages.IoVerification, Codes.Io(0x0F),
        "An IRP_MJ_CREATE is sent with a file object whose last handle is closed, or whose open was cancelled.",
        static () => new IwCreateWithClosedFile())
    {
        Covers = ["DV-C9-0x0F"],
        Instead = "Open the file again by ZwCreateFile, or make a file object of the driver's own by IoCreateStreamFileObjectLite.",
        Wrong = """
            next->MajorFunction = IRP_MJ_CREATE;
            next->FileObject = fileOfTheCloseRequest;
            IoCallDriver(Lower, irp);
            """,
        Right = """
            status = ZwCreateFile(&handle, access, &attributes, &iosb, NULL, 0, 0, FILE_OPEN, 0, NULL, 0);
            """,
    };

    public Situation When => Situation.Management;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Irp.Name.MajorFunction != IRP_MJ_CREATE) return;
        PFILE_OBJECT file = e.Irp.Tail.Overlay.CurrentStackLocation.FileObject;
        if (file.IsNull) return;
        FO_FLAGS closed = file.Flags & (FO_FLAGS.FO_CLEANUP_COMPLETE | FO_FLAGS.FO_FILE_OPEN_CANCELLED);
        if (closed == 0) return;
        Report(Tracker.Caller, Tracker.Irp.Name,
            $"{Tracker.Caller} sent {Tracker.Irp} with the file object at {Format.Address(file.Address)}, "
                + $"{((closed & FO_FLAGS.FO_CLEANUP_COMPLETE) != 0 ? "whose last handle is closed" : "whose open was cancelled")}.");
    }
}
