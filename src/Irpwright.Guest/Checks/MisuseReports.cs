using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Checks;

/// <summary>Tells a machine's observers what checked mode finds, in the words of the kernel.</summary>
sealed unsafe class MisuseReports : IMisuseReports
{
    readonly Machine machine;
    readonly Func<ulong, DriverImage?>? imageAt;
    readonly IrpOwners owners;
    readonly WatchedFrames frames;

    public MisuseReports(Machine machine, MemoryShadow shadow, Func<ulong, DriverImage?>? imageAt, WatchedFrames.CurrentCpu currentCpu)
    {
        this.machine = machine;
        this.imageAt = imageAt;
        owners = new IrpOwners(shadow, ImageOf);
        frames = new WatchedFrames(ImageOf, currentCpu);
        machine.Events.Add(owners);
        machine.Events.Add(frames);
    }

    ulong ImageOf(ulong address) => imageAt?.Invoke(address)?.Base ?? 0;

    public void BlockMisused(ulong address, ulong pointer, bool isWrite, ulong instruction)
    {
        if (machine.Pool.History?.Find(address, pointer) is { } block) machine.Events.Emit(new PoolBlockMisused(block, address, isWrite, instruction));
    }

    public void UninitializedUsed(UninitializedUse use, ulong source, ulong instruction) =>
        machine.Events.Emit(new UninitializedUsed(use, source, instruction));

    public void PageableTouched(ulong address, PageAccess access, byte irql, ulong instruction) =>
        machine.Events.Emit(new PageableTouched(address, access, irql, instruction));

    public void LentTouched(ulong address, bool isWrite, ulong instruction)
    {
        if (owners.TouchedWithoutRight(address, instruction) is { } irp) machine.Events.Emit(new LentIrpTouched(irp, address, isWrite, instruction));
    }

    public void FrameLeft(Cpu* cpu, ulong instruction)
    {
        foreach ((PIRP irp, string holder, ulong address) in frames.Leave(cpu))
            machine.Events.Emit(new StackFrameLeft(irp, holder, address, instruction));
    }

    public KernelExport? ExportAt(ulong address) => machine.Code.ExportAt(address);

    public void Returning(Cpu* cpu, KernelExport export)
    {
        bool completes = export == KernelExports.IofCompleteRequest;
        if (!completes && export != KernelExports.IofCallDriver && export != KernelExports.PoCallDriver) return;
        if (!GuestMemory.TryTranslate(cpu->Rsp, 8, PageAccess.Read, out byte* stack, out _)) return;
        owners.Returning(completes ? cpu->Rcx : cpu->Rdx, *(ulong*)stack);
    }
}
