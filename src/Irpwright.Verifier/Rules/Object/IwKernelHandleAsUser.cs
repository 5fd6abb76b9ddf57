namespace Irpwright.Verification.Rules;

/// <summary>What is in the system's table is the kernel's, and UserMode does not reach it.</summary>
sealed class IwKernelHandleAsUser : HandleReferenceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwKernelHandleAsUser), RuleFamily.Object, Warning,
        Pages.Detected, Codes.Detected(0xF7),
        "ObReferenceObjectByHandle is called with UserMode in a thread of the system process.",
        static () => new IwKernelHandleAsUser())
    {
        Covers = ["DV-C4-0xF7"],
        Instead = "Give KernelMode for handles of the driver's own; look up a requestor's handle in the requestor's thread.",
        Wrong = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context) {
                status = ObReferenceObjectByHandle(OurEvent, EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &event, NULL);
            """,
        Right = """
            VOID Work(PDEVICE_OBJECT DeviceObject, PVOID Context) {
                status = ObReferenceObjectByHandle(OurEvent, EVENT_MODIFY_STATE, *ExEventObjectType, KernelMode, &event, NULL);
            """,
    };

    protected override string? WrongWith(ulong handle, MODE mode) => mode == MODE.UserMode && IsInSystemProcess
        ? $"with UserMode for handle 0x{handle:x} in the system process, whose handles are the kernel's"
        : null;
}
