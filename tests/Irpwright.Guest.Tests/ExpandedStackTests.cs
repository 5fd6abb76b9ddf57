using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests;

public class ExpandedStackTests
{
    const int Deep = 0x6400; // a little more than a kernel stack has

    static ulong AddDeepRoutine(MachineProgram program) => program.Add(c =>
    {
        c.sub(rsp, Deep);
        c.mov(__[rsp], rcx);
        c.mov(__[rcx], rsp);
        c.add(rsp, Deep);
        c.ret();
    });

    [Fact]
    public void A_compiled_routine_gets_the_stack_that_was_asked_for()
    {
        using var program = new MachineProgram();
        ulong routine = AddDeepRoutine(program);
        program.Machine.Run(() =>
        {
            KernelThread thread = program.Machine.CurrentThread;
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, program.Machine.Processors.KeExpandKernelStackAndCallout(
                new PEXPAND_STACK_CALLOUT(routine), new PVOID(program.Data), Deep + 0x100));
            ulong used = GuestMemory.Ref<ulong>(program.Data);
            Assert.False(used >= thread.StackLimit && used < thread.StackBase);
            // It is gone again.
            Assert.False(GuestMemory.IsAccessible(used, 8, PageAccess.Read));
        });
    }

    [Fact]
    public void Without_that_its_stack_overflows()
    {
        using var program = new MachineProgram();
        ulong routine = AddDeepRoutine(program);
        BugCheckReport report = Assert.Throws<BugCheckException>(() => program.Run(routine, program.Data)).Report;
        Assert.Equal(BugCheckCode.UNEXPECTED_KERNEL_MODE_TRAP, report.Code);
    }
}
