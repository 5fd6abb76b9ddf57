using Irpwright.Verification.Rules;

namespace Irpwright.Verification;

/// <summary>Every rule there is.</summary>
public static class RuleCatalog
{
    /// <summary>By family and name.</summary>
    public static IReadOnlyList<RuleInfo> All { get; } =
    [
        IoAllocateComplete.Definition,
        IoAllocateForward.Definition,
        IoAllocateFree.Definition,
        IoBuildDeviceControlNoFree.Definition,
        IoBuildFsdComplete.Definition,
        IoBuildFsdForward.Definition,
        IoBuildSynchronousFsdRequestNoFree.Definition,
        IwFreedInUse.Definition,
        IwCancelledForeign.Definition,
        IwCompletedCancelable.Definition,
        IwForwardedCancelable.Definition,
        CompleteRequestStatusCheck.Definition,
        CompletionEventChecking.Definition,
        DoubleCompletion.Definition,
        IoBuildDeviceIoControlSetEvent.Definition,
        IrpProcessingComplete.Definition,
        IwEventSetBeforeSending.Definition,
        IwInformationTooLarge.Definition,
        IwOtherStatusReturned.Definition,
        IwUninitializedStatus.Definition,
        LowerDriverReturn.Definition,
        IwCompletionRoutineCopied.Definition,
        IwControlNotCleared.Definition,
        IwLeftStackLocations.Definition,
        IwMajorFunctionOutOfRange.Definition,
        IwNullCompletionRoutine.Definition,
        IwRoutineWithoutNextLocation.Definition,
        IwSentNoIrp.Definition,
        IwSentToNoDevice.Definition,
        IwTookLocationOfBuiltIrp.Definition,
        ForwardedAtBadIrql.Definition,
        ForwardedAtBadIrqlAllocate.Definition,
        ForwardedAtBadIrqlFsdAsync.Definition,
        ForwardedAtBadIrqlFsdSync.Definition,
        IrqlReturn.Definition,
        IwCalledAtBadIrql.Definition,
        IwCompletedAboveDispatch.Definition,
        IwForwardedAboveDispatch.Definition,
        IwThreadedAtApcLevel.Definition,
        IwWaitAtDispatch.Definition,
        Rules.SpinLock.Definition,
        SpinLockSafe.Definition,
        IwForwardedWhileBelow.Definition,
        IwMarkedWithoutLocation.Definition,
        IwPendingNotPropagated.Definition,
        IwSkippedAfterMarking.Definition,
        MarkIrpPending.Definition,
        MarkIrpPending2.Definition,
        PendedCompletedRequest.Definition,
        PendedCompletedRequest2.Definition,
        IwFailedPnpSentDown.Definition,
        IwPnpNotSupportedAgain.Definition,
        IwRemoveFailed.Definition,
        PnpIrpCompletion.Definition,
        IoReuseIrp.Definition,
        IoReuseIrp2.Definition,
        IwInitializedAllocated.Definition,
        IwInitializedWithQuota.Definition,
        IwReinitializedInUse.Definition,
    ];

    /// <summary>The rule of that name; null if there is none.</summary>
    public static RuleInfo? Find(string name) => All.FirstOrDefault(r => string.Equals(r.Name, name, StringComparison.OrdinalIgnoreCase));
}
