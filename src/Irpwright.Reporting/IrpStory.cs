using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Reporting;

/// <summary>What a trace knows of one IRP.</summary>
sealed class IrpStory(PIRP irp, string name, IrpOrigin origin)
{
    readonly Dictionary<ulong, int> depths = [];

    public PIRP Irp => irp;

    public string Name => name;

    public IrpOrigin Origin => origin;

    /// <summary>Depth of the topmost driver; a driver's own IRP begins below that driver.</summary>
    public int BaseDepth { get; init; }

    /// <summary>Driver that allocated the IRP; empty for requests.</summary>
    public string Sender { get; init; } = "";

    /// <summary>The driver that has the IRP now; null for its originator.</summary>
    public PDEVICE_OBJECT Holder { get; set; }

    /// <summary>CurrentLocation when the holder received it.</summary>
    public int HolderLocation { get; set; }

    /// <summary>What the holder is asked for.</summary>
    public byte MajorFunction { get; private set; }

    public byte MinorFunction { get; private set; }

    /// <summary>Whether its first line was written.</summary>
    public bool IsTold { get; set; }

    public bool IsCompleted { get; set; }

    public bool IsFreed { get; set; }

    /// <summary>What the requestor received, hashed.</summary>
    public string? Digest { get; set; }

    public int DepthOf(PDEVICE_OBJECT device) =>
        device.IsNull ? BaseDepth - 1 : depths.TryGetValue(device.Address, out int depth) ? depth : BaseDepth;

    /// <summary>The holder hands the IRP to another driver.</summary>
    public int Forward(PDEVICE_OBJECT target, PIRP forwarded)
    {
        int depth = Holder.IsNull ? BaseDepth : DepthOf(Holder) + 1;
        depths[target.Address] = depth;
        Holder = target;
        HolderLocation = forwarded.CurrentLocation;
        PIO_STACK_LOCATION location = forwarded.Tail.Overlay.CurrentStackLocation;
        (MajorFunction, MinorFunction) = (location.MajorFunction, location.MinorFunction);
        return depth;
    }

    public void Restart()
    {
        depths.Clear();
        Holder = default;
        IsTold = IsCompleted = false;
        Digest = null;
    }
}

enum FrameKind : byte
{
    Dispatch,
    Completion,
    Cancel,
    StartIo,
    Interrupt,
    Dpc,
    WorkItem,
    FastIo,
}

/// <summary>A driver routine that a thread is executing.</summary>
sealed class Frame(FrameKind kind, ulong routine, IrpStory? story, PDEVICE_OBJECT device, int depth, string driver)
{
    public FrameKind Kind => kind;

    public ulong Routine => routine;

    public IrpStory? Story => story;

    public PDEVICE_OBJECT Device => device;

    public int Depth => depth;

    public string Driver => driver;

    /// <summary>What the routine returns if it adds nothing of its own: the lower driver's status, or the one it completed with.</summary>
    public NTSTATUS? Expected { get; set; }
}
