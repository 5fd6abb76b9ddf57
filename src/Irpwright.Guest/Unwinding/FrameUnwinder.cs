using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Irpwright.Guest.Images;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Unwinding;

/// <summary>What the exception table says about a frame.</summary>
/// <param name="Establisher">Address that names the frame: its fixed part of the stack, or what its frame register points to.</param>
/// <param name="Handler">Its language handler, 0 for none of the kind that was asked for, or where the handler does not apply.</param>
/// <param name="HandlerData">What the compiler laid down for the handler.</param>
readonly record struct FrameInfo(ulong Establisher, ulong Handler, ulong HandlerData);

/// <summary>Turns the registers of a function into those of its caller, by the image's exception table.</summary>
/// <remarks>
/// A function without a row is a leaf: its return address is on top of the stack. In a prolog only what has been executed is undone; an
/// epilog, which the table does not describe, is recognised by its instructions and carried out.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
static class FrameUnwinder
{
    const int MaxChained = 32;
    const int Rsp = 4;

    /// <summary>Leaves a function without a row.</summary>
    public static bool TryLeaveLeaf(ref CONTEXT context)
    {
        if (!TryRead(context.Rsp, out ulong caller)) return false;
        context.Rip = caller;
        context.Rsp += 8;
        return true;
    }

    /// <summary>Leaves a function.</summary>
    /// <param name="handlerType">UNW_FLAG_*: the kinds of handler to look for.</param>
    /// <param name="saved">Receives where the frame kept registers; may be null.</param>
    /// <returns>False, <paramref name="context"/> then being undefined, where the stack or the table cannot be read.</returns>
    public static bool TryLeave(DriverImage image, RuntimeFunction function, uint handlerType, ref CONTEXT context, out FrameInfo frame,
        PKNONVOLATILE_CONTEXT_POINTERS saved = default)
    {
        frame = default;
        uint offset = (uint)(context.Rip - image.Base) - function.BeginAddress;
        if (!UnwindInfo.TryRead(image, function, out UnwindInfo info)) return false;
        bool isBody = offset >= info.SizeOfProlog;
        ulong establisher = isBody || info.IsChained || info.SetsFrameRegisterBefore(offset) ? FrameBase(info, ref context) : context.Rsp;
        if (isBody && Epilog.TryFinish(image, function, info, ref context, saved))
        {
            frame = new FrameInfo(establisher, 0, 0);
            return true;
        }
        uint executed = isBody ? uint.MaxValue : offset;
        ulong frameBase = establisher;
        bool isMachineFrame;
        for (int chained = 0; ; chained++)
        {
            if (!Undo(info, executed, frameBase, ref context, saved, out isMachineFrame)) return false;
            if (isMachineFrame || !info.IsChained) break;
            if (chained == MaxChained || !UnwindInfo.TryRead(image, info.Parent, out info)) return false;
            frameBase = FrameBase(info, ref context);
            executed = uint.MaxValue;
        }
        // A part of a function is guarded by the handler of the whole.
        bool isHandled = isBody && (info.Flags & handlerType & (UNW_FLAG_EHANDLER | UNW_FLAG_UHANDLER)) != 0;
        frame = isHandled
            ? new FrameInfo(establisher, image.Base + info.HandlerAddress, image.Base + info.HandlerData)
            : new FrameInfo(establisher, 0, 0);
        return isMachineFrame || TryLeaveLeaf(ref context);
    }

    public static ref ulong Gpr(ref CONTEXT context, int number) => ref Unsafe.Add(ref context.Rax, number);

    public static ref M128A Xmm(ref CONTEXT context, int number) => ref Unsafe.Add(ref context.Xmm0, number);

    // Undoes the part of the prolog that has been executed, last instruction first. The frame register may be among what is restored, so the
    // frame's base is known before.
    static bool Undo(UnwindInfo info, uint executed, ulong frameBase, ref CONTEXT context, PKNONVOLATILE_CONTEXT_POINTERS saved, out bool isMachineFrame)
    {
        isMachineFrame = false;
        for (int i = 0; i < info.CountOfCodes;)
        {
            ReadOnlySpan<byte> code = info.Code(i);
            int operation = code[1] & 15, argument = code[1] >> 4;
            int slots = UnwindInfo.SlotsOf(operation, argument);
            if (i + slots > info.CountOfCodes) return false;
            i += slots;
            if (code[0] > executed && operation != UnwindInfo.Epilog) continue;
            ulong small = slots > 1 ? BinaryPrimitives.ReadUInt16LittleEndian(code[2..]) : 0u;
            ulong large = slots > 2 ? BinaryPrimitives.ReadUInt32LittleEndian(code[2..]) : 0u;
            switch (operation)
            {
                case UnwindInfo.PushNonvolatile:
                    if (!Restore(ref context, argument, context.Rsp, saved)) return false;
                    context.Rsp += 8;
                    break;
                case UnwindInfo.AllocateLarge:
                    context.Rsp += argument == 0 ? 8 * small : large;
                    break;
                case UnwindInfo.AllocateSmall:
                    context.Rsp += 8UL * (uint)argument + 8;
                    break;
                case UnwindInfo.SetFrameRegister:
                    context.Rsp = frameBase;
                    break;
                case UnwindInfo.SaveNonvolatile:
                    if (!Restore(ref context, argument, frameBase + 8 * small, saved)) return false;
                    break;
                case UnwindInfo.SaveNonvolatileFar:
                    if (!Restore(ref context, argument, frameBase + large, saved)) return false;
                    break;
                case UnwindInfo.SaveXmm:
                    if (!RestoreXmm(ref context, argument, frameBase + 16 * small, saved)) return false;
                    break;
                case UnwindInfo.SaveXmmFar:
                    if (!RestoreXmm(ref context, argument, frameBase + large, saved)) return false;
                    break;
                case UnwindInfo.PushMachineFrame:
                    // An interrupt or trap left rip, cs, rflags, rsp and ss, perhaps below them an error code.
                    if (argument > 1 || !TryRead(context.Rsp + 8 * (uint)argument, out ulong rip) || !TryRead(context.Rsp + 8 * (uint)argument + 24, out ulong rsp)) return false;
                    context.Rip = rip;
                    context.Rsp = rsp;
                    isMachineFrame = true;
                    return true;
                case UnwindInfo.Epilog:
                    break;
                default:
                    return false;
            }
        }
        return true;
    }

    // Once the frame register is set, registers are saved relative to it: rsp may have moved on (alloca).
    static ulong FrameBase(UnwindInfo info, ref CONTEXT context) =>
        info.FrameRegister != 0 ? Gpr(ref context, info.FrameRegister) - info.FrameOffset : context.Rsp;

    internal static bool Restore(ref CONTEXT context, int register, ulong from, PKNONVOLATILE_CONTEXT_POINTERS saved)
    {
        if (!TryRead(from, out ulong value)) return false;
        Gpr(ref context, register) = value;
        if (!saved.IsNull) saved.Value.IntegerContext[register] = new PVOID(from);
        return true;
    }

    static bool RestoreXmm(ref CONTEXT context, int register, ulong from, PKNONVOLATILE_CONTEXT_POINTERS saved)
    {
        if (!TryRead(from, out ulong low) || !TryRead(from + 8, out ulong high)) return false;
        Xmm(ref context, register) = new M128A { Low = low, High = (long)high };
        if (!saved.IsNull) saved.Value.FloatingContext[register] = new PM128A(from);
        return true;
    }

    internal static unsafe bool TryRead(ulong address, out ulong value)
    {
        value = 0;
        if (!GuestMemory.TryTranslate(address, 8, PageAccess.Read, out byte* host, out _)) return false;
        value = *(ulong*)host;
        return true;
    }
}
