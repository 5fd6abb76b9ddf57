namespace Irpwright.Verification.Rules;

/// <summary>A program may close its handles, and open others of the same value, at any time.</summary>
sealed class IwUserHandleAsKernel : HandleReferenceRule
{
    public static RuleInfo Definition { get; } = new(nameof(IwUserHandleAsKernel), RuleFamily.Object, Warning,
        Pages.Detected, Codes.Detected(0xF6),
        "ObReferenceObjectByHandle is called with KernelMode for a handle of the requestor's process: its rights are not looked at.",
        static () => new IwUserHandleAsKernel())
    {
        Covers = ["DV-C4-0xF6", "CA-28126"],
        Instead = "Give Irp->RequestorMode for a handle that came with a request; open handles of the driver's own with OBJ_KERNEL_HANDLE.",
        Wrong = "status = ObReferenceObjectByHandle(input->Event, EVENT_MODIFY_STATE, *ExEventObjectType, KernelMode, &event, NULL);",
        Right = "status = ObReferenceObjectByHandle(input->Event, EVENT_MODIFY_STATE, *ExEventObjectType, Irp->RequestorMode, &event, NULL);",
    };

    protected override string? WrongWith(ulong handle, MODE mode) => mode == MODE.KernelMode && !IsKernelHandle(handle) && !IsInSystemProcess
        ? $"with KernelMode for handle 0x{handle:x} of process {Tracker.Thread.Thread.Process}: that may be any object, with any rights, by the time of the call"
        : null;
}
