namespace Irpwright.Verification;

/// <summary>
/// What is out of the ordinary about an event. Most rules are about some such thing and say so (<see cref="IWatch{TEvent}.When"/>): they are
/// not asked otherwise, so that an ordinary request costs little however many rules there are.
/// </summary>
[Flags]
public enum Situation : uint
{
    /// <summary>Nothing.</summary>
    Ordinary = 0,
    /// <summary>The IRQL is above PASSIVE_LEVEL, or interrupts are disabled.</summary>
    Raised = 1 << 0,
    /// <summary>The IRP is none of those that move data: not a read, a write or a device control.</summary>
    Management = 1 << 1,
    /// <summary>No driver has received the IRP, or it is back at its originator.</summary>
    Originator = 1 << 2,
    /// <summary>The driver sends the IRP without a location of the receiver's own.</summary>
    Skipped = 1 << 3,
    /// <summary>Some driver of the machine has a remove lock.</summary>
    RemoveLock = 1 << 4,
    /// <summary>The IRP has a cancel routine.</summary>
    Cancelable = 1 << 5,
    /// <summary>The IRP has an MDL.</summary>
    Described = 1 << 6,
    /// <summary>No completion routine is called for the location that is entered.</summary>
    Unregistered = 1 << 7,
    /// <summary>Locks are held, or a routine returns with another IRQL or APC state than it was called with.</summary>
    Unbalanced = 1 << 8,
    /// <summary>A dispatch routine returns STATUS_PENDING; or SL_PENDING_RETURNED is set in what a location or a completion routine gets.</summary>
    Pending = 1 << 9,
    /// <summary>The driver, or its completion routine, has marked the IRP pending.</summary>
    Marked = 1 << 10,
    /// <summary>A dispatch routine returns while the IRP has not come back.</summary>
    Unfinished = 1 << 11,
    /// <summary>
    /// IoCallDriver gets what is no IRP or no device, an IRP that cannot be sent there, or one whose next location is not in order; a dispatch routine
    /// returns another status than the one it was told; a routine is called at an IRQL that it does not allow; or IoCompleteRequest gets a status
    /// that is not final, or an IRP whose header has been written over.
    /// </summary>
    Irregular = 1 << 12,
    /// <summary>The driver has called IoSetCompletionRoutineEx for the IRP.</summary>
    Registered = 1 << 13,
    /// <summary>The completion routine in the location that is entered has not been seen before.</summary>
    NewRoutine = 1 << 14,
    /// <summary>A rule has noted something that the end of a routine may settle (<see cref="Rule.HasNotes"/>); or interrupts are disabled then.</summary>
    Noted = 1 << 15,
    /// <summary>IoCallDriver or IoCompleteRequest is called by another routine than those that the IRP's driver was called with for it.</summary>
    Elsewhere = 1 << 16,
    /// <summary>The completion routine in the location that is entered stands in the sender's own one too, where another driver has set it.</summary>
    Copied = 1 << 17,
    /// <summary>An IoBuildXxx routine made the IRP for a driver.</summary>
    Built = 1 << 18,
    /// <summary>Nothing can be excluded.</summary>
    Any = uint.MaxValue,
}
