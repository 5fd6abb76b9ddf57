namespace Irpwright.Verification.Tracking;

/// <summary>What is known of an IRP from its allocation to its release.</summary>
public sealed class IrpRecord
{
    /// <summary>The bits of Control that have a completion routine called.</summary>
    internal const SL_CONTROL Invoke = SL_CONTROL.SL_INVOKE_ON_SUCCESS | SL_CONTROL.SL_INVOKE_ON_ERROR | SL_CONTROL.SL_INVOKE_ON_CANCEL;

    IrpName name;

    public ref readonly IrpName Name => ref name;

    public PIRP Irp => new(name.Address);

    /// <summary>Who made it; null if that was before the verifier came.</summary>
    public IrpOrigin? Origin { get; internal set; }

    /// <summary>The driver code that had it made; says nothing for the kernel's own.</summary>
    public CodePlace Maker { get; internal set; }

    /// <summary>Locations it was made with.</summary>
    public sbyte StackCount { get; internal set; }

    /// <summary>Allocated with ChargeQuota.</summary>
    public bool QuotaCharged { get; internal set; }

    /// <summary>Times that it was sent to a driver since it was made or reused.</summary>
    public int Forwards { get; internal set; }

    /// <summary>IoCancelIrp was called while no cancel routine was set, so that only its Cancel flag tells of it.</summary>
    public bool CancelledUnseen { get; internal set; }

    /// <summary>What became of it since its originator sent it; null before.</summary>
    internal SentIrp? Sent { get; set; }

    /// <summary>The file object it had when it was first sent.</summary>
    public PFILE_OBJECT OriginalFileObject { get; internal set; }

    /// <summary>The driver that completed it last; null before.</summary>
    public CodePlace? Completer { get; internal set; }

    /// <summary>The stay with the driver that has it now; null while its originator has it.</summary>
    public Visit? Owner { get; private set; }

    /// <summary>A driver that it was sent to still has it.</summary>
    public bool IsInFlight => Owner is not null;

    /// <summary>Whether the location behind the packet's last one can be looked at: the kernel leaves room in its own packets.</summary>
    internal bool HasRoomBehind => Origin is not (null or IrpOrigin.Initialized);

    /// <summary>SL_PENDING_RETURNED is set where the packet has no location any more.</summary>
    public bool IsMarkedBehindEnd => HasRoomBehind && (ControlOf((sbyte)(StackCount + 1)) & SL_CONTROL.SL_PENDING_RETURNED) != 0;

    /// <summary>That has been reported.</summary>
    public bool MarkBehindEndReported { get; set; }

    /// <summary>A location's Control byte.</summary>
    public SL_CONTROL ControlOf(sbyte location) => LocationAt(location).Control;

    /// <summary>The n-th location, 1-based.</summary>
    public PIO_STACK_LOCATION LocationAt(sbyte location) => LocationAt(Irp, location);

    internal static PIO_STACK_LOCATION LocationAt(PIRP irp, sbyte location) =>
        new(irp.Address + IRP.SizeOf + (ulong)(location - 1) * IO_STACK_LOCATION.SizeOf);

    /// <summary>It is used anew, or for another kind of request.</summary>
    internal void Rename(in IrpName called) => name = called;

    internal void Enter(Visit visit)
    {
        visit.Above = Owner;
        Owner = visit;
    }

    /// <summary>The owner's stay ends; the driver above has the IRP again.</summary>
    internal void Leave() => Owner = Owner?.Above;

    public override string ToString() => Name.ToString();
}
