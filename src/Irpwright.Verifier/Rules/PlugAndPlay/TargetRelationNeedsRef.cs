namespace Irpwright.Verification.Rules;

/// <summary>Whoever asks for the target gives the reference back.</summary>
sealed class TargetRelationNeedsRef : RelationsRule, IWatchCalls
{
    public static RuleInfo Definition { get; } = new(nameof(TargetRelationNeedsRef), RuleFamily.PlugAndPlay, Error,
        Pages.Wdm(nameof(TargetRelationNeedsRef)), Codes.Io(0x22C),
        "A bus driver answers a query for TargetDeviceRelation without having called ObReferenceObject for the PDO in the list.",
        static () => new TargetRelationNeedsRef())
    {
        Covers = ["DV-C9-0x22C"],
        Instead = "Call ObReferenceObject for the PDO before the request is completed.",
        Wrong = """
            relations = ExAllocatePool2(POOL_FLAG_PAGED, sizeof(DEVICE_RELATIONS), TAG);
            relations->Count = 1;
            relations->Objects[0] = DeviceObject;
            Irp->IoStatus.Information = (ULONG_PTR)relations;
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

    readonly HashSet<ulong> referenced = [];

    public IReadOnlyList<KernelExport> Calls { get; } =
        [KernelExports.ObfReferenceObject, KernelExports.ObReferenceObject, KernelExports.ObReferenceObjectByPointer];

    public void Called(in DdiCalled e)
    {
        if (IsDevice(e.Arguments[0])) referenced.Add(e.Arguments[0]);
    }

    static bool IsDevice(ulong address) =>
        GuestMemory.IsAccessible(address, DEVICE_OBJECT.SizeOf, PageAccess.Read) && new PDEVICE_OBJECT(address).Type == IO_TYPE_DEVICE;

    protected override void Answered(Visit visit, PDEVICE_RELATIONS relations, bool completed)
    {
        if (!completed || !visit.Below.IsNull || visit.Parameters.QueryDeviceRelations.Type != DEVICE_RELATION_TYPE.TargetDeviceRelation) return;
        if (relations.IsNull || relations.Count != 1 || referenced.Remove(At(relations, 0).Address)) return;
        Report(Tracker.Caller, visit.Irp, $"{Tracker.Caller} answered {visit.Irp}, a query for TargetDeviceRelation, but did not reference the device in the list.");
    }
}
