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
    readonly IrpWatch irps;
    readonly GuardSearch guards;
    // Whose code runs and is called is nearly always one of very few drivers.
    DriverImage? latest;

    public MisuseReports(Machine machine, MemoryShadow shadow, Func<ulong, DriverImage?>? imageAt, IrpWatch.CurrentCpu currentCpu)
    {
        this.machine = machine;
        this.imageAt = imageAt;
        guards = new GuardSearch(imageAt);
        irps = new IrpWatch(shadow, ImageOf, currentCpu);
        machine.Events.Add(irps);
    }

    ulong ImageOf(ulong address)
    {
        if (latest is { } known && known.Contains(address)) return known.Base;
        if (imageAt?.Invoke(address) is not { } image) return 0;
        latest = image;
        return image.Base;
    }

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
        if (irps.TouchedWithoutRight(address, instruction) is { } irp) machine.Events.Emit(new LentIrpTouched(irp, address, isWrite, instruction));
    }

    public void FrameLeft(Cpu* cpu, ulong instruction)
    {
        foreach ((PIRP irp, string holder, ulong address) in irps.Leave(cpu))
            machine.Events.Emit(new StackFrameLeft(irp, holder, address, instruction));
    }

    public void ExchangedStored(ulong address, ulong instruction) =>
        machine.Events.Emit(new CancelRoutineStored(new PIRP(address - IrpWatch.CancelRoutineOffset), instruction));

    public void UserTouched(Cpu* cpu, ulong address, bool isWrite, ulong instruction) => machine.Events.Emit(new UserMemoryTouched(
        address, isWrite, guards.IsGuarded(cpu, instruction), imageAt?.Invoke(instruction) is { } image && MayProbeInline(image), instruction));

    static bool MayProbeInline(DriverImage image) => image.File.Imports.Any(import => import.Name == "MmUserProbeAddress");

    public KernelExport? ExportAt(ulong address) => machine.Code.ExportAt(address);

    public void Returning(Cpu* cpu, KernelExport export, ulong first, ulong second)
    {
        bool completes = export == KernelExports.IofCompleteRequest, returns = export == KernelExports.IoForwardIrpSynchronously || export == KernelExports.IoSynchronousCallDriver;
        if (!completes && !returns && export != KernelExports.IofCallDriver && export != KernelExports.PoCallDriver) return;
        if (!GuestMemory.TryTranslate(cpu->Rsp, 8, PageAccess.Read, out byte* stack, out _)) return;
        ulong irp = completes ? first : second, caller = *(ulong*)stack;
        if (returns) irps.Returned(irp, caller);
        else irps.Returning(irp, caller);
    }
}
