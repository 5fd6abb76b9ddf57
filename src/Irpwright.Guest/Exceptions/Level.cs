using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Exceptions;

/// <summary>One run of compiled code, from a call by the kernel to its return, while exceptions are dispatched in it.</summary>
sealed class Level
{
    CONTEXT position;

    /// <summary>Whether <see cref="Position"/> means anything yet.</summary>
    public bool HasPosition { get; private set; }

    /// <summary>Where the frames begin that have not been unwound yet.</summary>
    public ref CONTEXT Position
    {
        get
        {
            HasPosition = true;
            return ref position;
        }
    }

    /// <summary>The scope of the first of these frames to go on with; those before it have had their termination handlers run.</summary>
    public uint ScopeIndex { get; set; }

    /// <summary>Whether an unwind of these frames was given up for another one.</summary>
    public bool IsCollided { get; set; }

    /// <summary>
    /// How to go on: an <see cref="UnwindException"/> or <see cref="ContextRestoredException"/> is carried out, any other exception raised.
    /// </summary>
    public Exception? Next { get; set; }
}

/// <summary>A structured exception on its way through compiled code.</summary>
sealed class Raised
{
    /// <summary>Registers where it was raised.</summary>
    public CONTEXT Context;

    public EXCEPTION_RECORD Record;

    /// <summary>Registers at the end of the outermost level that was searched.</summary>
    public CONTEXT Walk;

    /// <summary>The level it was raised in.</summary>
    public required int Origin { get; init; }

    /// <summary>The outermost level that was searched without finding a handler.</summary>
    public int Searched { get; set; } = int.MaxValue;

    public DispatchArea Area { get; set; }

    /// <summary>The level on whose stack the area lies.</summary>
    public int AreaDepth { get; set; }

    /// <summary>The frame whose handler was running when this was raised; 0 for none. Up to it, handlers are told that the call is nested.</summary>
    public ulong NestedFrame { get; set; }
}

/// <summary>What handlers are shown, on the guest's stack: record, registers, and the frame that they are called for.</summary>
readonly record struct DispatchArea(ulong Address)
{
    public const ulong Size = 0xA90;

    public PEXCEPTION_RECORD Record => new(Address);

    public PCONTEXT Context => new(Address + 0xA0);

    public PDISPATCHER_CONTEXT Dispatcher => new(Address + 0x570);

    /// <summary>Registers in the frame.</summary>
    public PCONTEXT FrameContext => new(Address + 0x5C0);
}

/// <summary>The processor met a fault, in the code it was running, that handlers may take.</summary>
sealed class ProcessorFault(NTSTATUS status, string message, params ulong[] parameters) : NtStatusException(status, message, parameters);
