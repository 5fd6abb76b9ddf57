using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Unwinding;

/// <summary>The frames of one run of compiled code, for people to read.</summary>
/// <remarks>
/// The exception tables lead from frame to frame. Where they do not (a function without a row that calls others, a stack that was overwritten) the
/// next thing on the stack that looks like a return address is taken, and it and all behind it are guesses.
/// </remarks>
/// <param name="imageAt">The image that holds an address.</param>
/// <param name="returnAddress">Where the run ends.</param>
/// <param name="top">Where its stack begins.</param>
sealed class StackWalk(Func<ulong, DriverImage?>? imageAt, ulong returnAddress, ulong top)
{
    const int Enough = 256;

    public IEnumerable<GuestFrame> Walk(CONTEXT context)
    {
        bool isGuess = false;
        for (int frames = 0, step = 0; context.Rip != returnAddress && frames < Enough; step++)
        {
            DriverImage? image = imageAt?.Invoke(context.Rip);
            if (image is not null)
            {
                frames++;
                yield return new GuestFrame(context.Rip, isGuess);
            }
            // A leaf calls nobody, so only what is being executed can be one: code, a routine of the kernel, or what a wild jump went to.
            CONTEXT caller = context;
            bool isKnown = image?.File.FunctionAt((uint)(context.Rip - image.Base)) is { } function
                ? FrameUnwinder.TryLeave(image, function, UNW_FLAG_NHANDLER, ref caller, out _)
                : (step == 0 || image is null) && FrameUnwinder.TryLeaveLeaf(ref caller);
            if (!isKnown || caller.Rsp <= context.Rsp || caller.Rsp > top || !CanFollow(caller.Rip))
            {
                caller = context;
                if (!TryGuess(ref caller)) yield break;
                isGuess = true;
            }
            context = caller;
        }
    }

    bool TryGuess(ref CONTEXT context)
    {
        for (ulong slot = (context.Rsp + 7) & ~7UL; slot < top && FrameUnwinder.TryRead(slot, out ulong value); slot += 8)
        {
            if (value != returnAddress && !IsBehindCall(value)) continue;
            (context.Rip, context.Rsp) = (value, slot + 8);
            return true;
        }
        return false;
    }

    /// <summary>Behind a call, or in code of ours that belongs to no image.</summary>
    bool CanFollow(ulong rip) => rip == returnAddress || IsBehindCall(rip) || (imageAt?.Invoke(rip) is null && GuestMemory.IsAccessible(rip, 1, PageAccess.Execute));

    bool IsBehindCall(ulong address)
    {
        const int shortest = 2, longest = 8;
        if (imageAt?.Invoke(address) is not { IsLoaded: true }) return false;
        for (ulong length = shortest; length <= longest; length++)
        {
            Instruction instruction = Interpreter.Decode(address - length);
            if (!instruction.IsInvalid && (ulong)instruction.Length == length && (instruction.IsCallNear || instruction.IsCallNearIndirect)) return true;
        }
        return false;
    }
}
