namespace Irpwright.Verification.Rules;

/// <summary>The PDO is the target of its stack.</summary>
sealed class IwTargetRelationUnanswered : RelationsRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwTargetRelationUnanswered), RuleFamily.PlugAndPlay, Error,
        Pages.IoVerification, Codes.Io(0x22B),
        "A bus driver completes a query for TargetDeviceRelation with success, but without a list that holds the PDO and nothing else.",
        static () => new IwTargetRelationUnanswered())
    {
        Covers = ["DV-C9-0x22B", "DV-C9-0x24B"],
        Instead = "Return a DEVICE_RELATIONS with the PDO that the query was sent to, or leave the status alone.",
        Wrong = """
            case TargetDeviceRelation:
                Irp->IoStatus.Status = STATUS_SUCCESS;
                IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
        Right = """
            relations = ExAllocatePool2(POOL_FLAG_PAGED, sizeof(DEVICE_RELATIONS), TAG);
            relations->Count = 1;
            relations->Objects[0] = DeviceObject;
            ObReferenceObject(DeviceObject);
            Irp->IoStatus.Information = (ULONG_PTR)relations;
            Irp->IoStatus.Status = STATUS_SUCCESS;
            IoCompleteRequest(Irp, IO_NO_INCREMENT);
            """,
    };

    protected override void Answered(Visit visit, PDEVICE_RELATIONS relations, bool completed)
    {
        if (!completed || !visit.Below.IsNull || visit.Parameters.QueryDeviceRelations.Type != DEVICE_RELATION_TYPE.TargetDeviceRelation) return;
        if (!relations.IsNull && relations.Count == 1 && At(relations, 0) == visit.Device) return;
        string what = relations.IsNull ? "no list" : relations.Count != 1 ? $"a list of {relations.Count} devices" : "another device";
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} answered {visit.Irp}, a query for TargetDeviceRelation, with {what} instead of its device.");
    }
}
