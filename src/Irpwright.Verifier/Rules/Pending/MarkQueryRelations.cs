namespace Irpwright.Verification.Rules;

/// <summary>Finding out relations may take long.</summary>
sealed class MarkQueryRelations : UnpendedRule
{
    public static RuleInfo Definition { get; } = new(nameof(MarkQueryRelations), RuleFamily.Pending, Advice,
        Pages.Wdm(nameof(MarkQueryRelations)), null,
        "A function or filter driver of a bus driver does not pend IRP_MN_QUERY_DEVICE_RELATIONS for RemovalRelations.",
        static () => new MarkQueryRelations())
    {
        Instead = "Mark the IRP pending, and answer it later.",
        Wrong = """
            IoSkipCurrentIrpStackLocation(Irp);
            return IoCallDriver(lower, Irp);    /* IRP_MN_QUERY_DEVICE_RELATIONS, RemovalRelations */
            """,
        Right = """
            IoMarkIrpPending(Irp);
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, RelationsDone, DeviceObject, TRUE, TRUE, TRUE);
            IoCallDriver(lower, Irp);
            return STATUS_PENDING;
            """,
    };

    protected override string What => "IRP_MN_QUERY_DEVICE_RELATIONS for RemovalRelations";

    protected override bool Concerns(Visit visit) =>
        visit is { Irp.MajorFunction: IRP_MJ_PNP, MinorFunction: IRP_MN_QUERY_DEVICE_RELATIONS }
            && visit.Parameters.QueryDeviceRelations.Type == DEVICE_RELATION_TYPE.RemovalRelations;
}
